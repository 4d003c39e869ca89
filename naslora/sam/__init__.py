"""Segment Anything: models over Meta's package, fast attention, semantic decoder, checkpoints."""
