"""Names of the methods and networks of this package, without importing torch."""

from __future__ import annotations

# A method adds its name here; its file is NAME.py. The order is that of Table 1, which lacks
# full_finetuning.
METHOD_NAMES = (
    "scratch",
    "full_finetuning",
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

# Networks other than SAM; all of them are in networks.py.
NETWORK_NAMES = ("unet", "deeplabv3", "linknet34")
