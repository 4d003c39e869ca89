"""NAS-PC-LoRA (eq. 3): NAS-LoRA with two of three channels in the cell."""

from __future__ import annotations

from dataclasses import dataclass

from naslora.methods.nas_lora import NASLoRASettings, put_cells
from naslora.methods.registry import register


@dataclass(frozen=True)
class NASPCLoRASettings(NASLoRASettings):
    """Settings of NAS-LoRA, with another ratio."""

    ratio: float = 2 / 3


register(
    "nas_pc_lora", title="NAS-PC-LoRA", settings=NASPCLoRASettings, merges=("collapsed", "dense")
)(put_cells)
