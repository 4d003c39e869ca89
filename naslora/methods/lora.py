"""LoRA (Hu et al., 2022; eq. 1): a low-rank change of the attention's qkv layer."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn

from naslora.core.validation import StrictSettings
from naslora.methods.layers import LowRankLinear, replace_qkv
from naslora.methods.registry import register
from naslora.methods.settings import Layers, Projections, Width
from naslora.sam.building import Sam


class LoRASettings(StrictSettings):
    """Settings of LoRA and of the methods that build on it.

    Attributes:
        rank: r, the rank of the branch.
        lora_alpha: the branch is scaled by lora_alpha / rank; by default by 1.
        projections: null for one branch on the fused qkv; or a list of some of q, k and v, for a
            branch on each of them.
        layers: blocks to adapt: a list of indices from 0, "first_half" or "last_half"; by default
            all.
    """

    rank: Width = 3
    lora_alpha: Annotated[float, Field(gt=0)] | None = None
    projections: Projections | None = None
    layers: Layers = None

    @property
    def scale(self) -> float:
        """The factor on a branch."""
        return 1.0 if self.lora_alpha is None else self.lora_alpha / self.rank


@register("lora", title="LoRA", settings=LoRASettings, merges=("exact",))
def apply(sam: Sam, settings: LoRASettings) -> None:
    """Put a low-rank branch on the qkv layer of every chosen block."""

    def build(base: nn.Linear) -> LowRankLinear:
        return LowRankLinear(base, settings.rank, settings.scale, settings.projections)

    replace_qkv(sam, build, settings.layers)
