"""Names of the methods of this package, without importing torch."""

from __future__ import annotations

# A method adds its name here; its file is NAME.py. The order is that of Table 1.
METHOD_NAMES = (
    "scratch",
    "decoder_only",
    "sam_adapter",
    "mona",
    "bitfit",
    "vpt",
    "lora",
    "conv_lora",
    "dora",
    "vera",
    "nas_lora",
    "nas_pc_lora",
)
