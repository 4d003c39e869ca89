"""Segment Anything: building, fast attention, semantic mask decoder, checkpoints."""
