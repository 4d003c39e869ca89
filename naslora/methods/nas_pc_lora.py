"""NAS-PC-LoRA (eq. 3): NAS-LoRA with two of three channels in the cell."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from naslora.methods.nas_lora import NASLoRASettings, apply_cells
from naslora.methods.registry import register


class NASPCLoRASettings(NASLoRASettings):
    """Settings of NAS-LoRA, with another default ratio."""

    ratio: Annotated[float, Field(gt=0, le=1)] = 2 / 3


register(
    "nas_pc_lora", title="NAS-PC-LoRA", settings=NASPCLoRASettings, merges=("collapsed", "dense")
)(apply_cells)
