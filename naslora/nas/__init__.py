"""The NAS cell of NAS-LoRA: candidate operations, mixture, collapse, merge and optimisation."""
