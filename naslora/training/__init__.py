"""Training of adapters and of small backbones, resumable."""
