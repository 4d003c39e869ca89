"""Trained runs for other programs: Meta's checkpoint, HF PEFT's adapter, ONNX."""
