"""Estimates for a study before it is run: GPU-hours, wall time and disk space."""
