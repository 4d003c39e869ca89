"""Adaptation to user-supplied images, as a study of one task."""
