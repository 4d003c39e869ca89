"""naslora: a rerunnable benchmark of parameter-efficient adaptation of SAM, NAS-LoRA included."""

__version__ = "0.1.0"
