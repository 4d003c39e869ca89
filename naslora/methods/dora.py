"""DoRA (Liu et al., ICML 2024, arXiv 2402.09353): LoRA on the direction of the weight, and trained
magnitudes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from naslora.core.precision import without_autocast
from naslora.methods.layers import LowRankLinear, plain_linear, replace_qkv
from naslora.methods.lora import LoRASettings
from naslora.methods.registry import register
from naslora.sam.building import Sam

Magnitude = Literal["input", "output"]


class DoRASettings(LoRASettings):
    """Settings of DoRA, in addition to LoRA's.

    Attributes:
        magnitude: "input", one magnitude for each column of the weight W (out, in), as in the DoRA
            paper's formulas; this gives the NAS-LoRA paper's count, 4,038,016 on ViT-H. "output",
            one for each row, as in HF peft and the DoRA authors' code; 4,119,936. In both cases W
            is that of the fused qkv layer, even if `projections` is set.
    """

    magnitude: Magnitude = "input"


@register("dora", title="DoRA", settings=DoRASettings, merges=("exact",))
def apply(sam: Sam, settings: DoRASettings) -> None:
    """Put a low-rank branch and magnitudes on the qkv layer of every chosen block."""

    def build(base: nn.Linear) -> DoRALinear:
        return DoRALinear(
            base, settings.rank, settings.scale, settings.projections, settings.magnitude
        )

    replace_qkv(sam, build, settings.layers)


class DoRALinear(LowRankLinear):
    """x -> m V / |V| x + b with V = W + scale * BA, the norms taken by column or by row.

    m starts as |W|, so the layer starts with the outputs of the one that it wraps. |V| is treated
    as a constant in the gradient (DoRA paper, section 4.3).

    Args:
        base: the layer that has W and b.
        rank: of BA.
        scale: see above.
        projections: parts of the output that BA changes; by default all.
        magnitude: see `DoRASettings`.

    Attributes:
        by_column: whether the norms are those of columns.
    """

    def __init__(
        self,
        base: nn.Linear,
        rank: int,
        scale: float = 1.0,
        projections: Sequence[str] | None = None,
        magnitude: Magnitude = "input",
    ):
        super().__init__(base, rank, scale, projections)
        self.by_column = magnitude == "input"
        self.magnitude = nn.Parameter(self._norm(self._direction()).to(base.weight.dtype))

    def forward(self, x: Tensor) -> Tensor:
        factor = self._factor()
        if self.by_column:
            return super().forward((x * factor).to(x.dtype))
        y = super().forward(x)
        linear = y if self.bias is None else y - self.bias
        return (y + (factor - 1) * linear).to(y.dtype)

    def merged(self, matrices: Mapping[str, Tensor] | None = None) -> nn.Linear:
        """A plain layer with the same outputs; `matrices` is not used."""
        weight = self._direction()
        factor = self._factor().detach()
        weight = weight * (factor if self.by_column else factor[:, None])
        return plain_linear(weight.to(self.weight.dtype), self.bias)

    def _factor(self) -> Tensor:
        """The magnitudes m over |V|, in float32 or wider; finite where V is zero."""
        with without_autocast(self.weight.device):
            norm = self._norm(self._direction())
            return self.magnitude.to(norm) / norm.clamp_min(torch.finfo(norm.dtype).tiny)

    def _direction(self) -> Tensor:
        """V, (out, in), without gradient, in float32 or wider."""
        with torch.no_grad():
            dtype = torch.promote_types(self.weight.dtype, torch.float32)
            weight = self.weight.to(dtype, copy=True)
            for name, branch in self.named_branches():
                weight[self.parts[name]] += branch.matrix()
            return weight

    def _norm(self, weight: Tensor) -> Tensor:
        norm: Tensor = torch.linalg.vector_norm(weight, dim=0 if self.by_column else 1)
        return norm
