"""Adaptation to images of one's own: a study of one task, made on the spot."""
