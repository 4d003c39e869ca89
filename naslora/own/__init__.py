"""Adaptation to images of one's own, as a study of one task."""
