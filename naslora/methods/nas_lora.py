"""NAS-LoRA (eq. 2): LoRA with a NAS cell between its two factors."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator
from torch import nn

from naslora.methods.layers import LowRankLinear, replace_qkv
from naslora.methods.lora import LoRASettings
from naslora.methods.registry import register
from naslora.nas.cell import NASCell
from naslora.nas.settings import CellSettings
from naslora.sam.building import Sam


class NASLoRASettings(CellSettings, LoRASettings):
    """Settings of NAS-LoRA, in addition to LoRA's and the cell's. Each low-rank branch has a cell.

    Attributes:
        domain: where the cell looks for neighbours. "window": in the windows of the attention,
            padding included, as in Conv-LoRA's code; "image": in the whole map, before it is cut
            into windows; the padding of windows is then the frozen layer's output for zero.
    """

    domain: Literal["window", "image"] = "window"

    @model_validator(mode="after")
    def _domain_image_needs_linear_operations(self) -> NASLoRASettings:
        if self.domain == "image" and self.style == "darts":
            raise ValueError(
                "domain image needs style linear: operations of style darts do not map zero to"
                " zero, so the padding of windows would not be the frozen layer's"
            )
        return self


def apply_cells(sam: Sam, settings: NASLoRASettings) -> None:
    """Put a low-rank branch with a cell on the qkv layer of every chosen block."""

    def cell() -> NASCell:
        return NASCell(settings.rank, settings)

    def build(base: nn.Linear) -> LowRankLinear:
        return LowRankLinear(
            base,
            settings.rank,
            settings.scale,
            settings.projections,
            cell,
            pointwise=settings.domain == "image",
        )

    replace_qkv(sam, build, settings.layers)


register("nas_lora", title="NAS-LoRA", settings=NASLoRASettings, merges=("collapsed", "dense"))(
    apply_cells
)
