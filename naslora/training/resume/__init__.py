"""Stopping and resuming: signals, checkpoints, and one process at a time on a run."""
