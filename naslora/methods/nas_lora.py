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
    """Settings of NAS-LoRA, beside LoRA's and the cell's: one cell for each low-rank branch.

    Attributes:
        domain: where the cell looks for neighbours. "window": in the windows of the attention,
            padding included, as Conv-LoRA's code does; "image": in the whole map, before it is
            cut into windows, whose padding then is what the frozen layer makes of zero.
    """

    domain: Literal["window", "image"] = "window"

    @model_validator(mode="after")
    def _operations_on_the_image_map_zero_to_zero(self) -> NASLoRASettings:
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
