"""LoRA (Hu et al., 2022; eq. 1): a low-rank change of the attention's qkv layer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from naslora.methods.layers import (
    PROJECTIONS,
    Layers,
    LowRankLinear,
    check_layers,
    replace_qkv,
)
from naslora.methods.registry import register
from naslora.sam.building import Sam


@dataclass(frozen=True)
class LoRASettings:
    """Settings of LoRA, and of what builds on it.

    Attributes:
        rank: r.
        lora_alpha: the branch is scaled by lora_alpha / rank; by default by 1.
        projections: None for one branch on the fused qkv; or a list out of q, k, v for a branch
            on each of them.
        layers: blocks to adapt: a list of places counted from 0, "first_half" or "last_half"; all
            by default.
    """

    rank: int = 3
    lora_alpha: float | None = None
    projections: tuple[str, ...] | None = None
    layers: Layers | None = None

    def __post_init__(self) -> None:
        if type(self.rank) is not int or self.rank < 1:
            raise ValueError(f"rank must be a whole number from 1, not {self.rank!r}")
        if self.lora_alpha is not None and not self.lora_alpha > 0:
            raise ValueError(f"lora_alpha must be above 0, not {self.lora_alpha!r}")
        object.__setattr__(self, "layers", check_layers(self.layers))
        if self.projections is not None:
            chosen = tuple(self.projections)
            if not chosen or not set(chosen) <= set(PROJECTIONS) or len(set(chosen)) < len(chosen):
                raise ValueError(f"projections must be out of q, k, v, not {self.projections!r}")
            object.__setattr__(self, "projections", chosen)

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
