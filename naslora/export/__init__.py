"""Export of trained runs: Meta's checkpoint, HF PEFT's adapter, ONNX."""
