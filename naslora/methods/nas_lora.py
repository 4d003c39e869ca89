"""NAS-LoRA (eq. 2): LoRA with a NAS cell between its two factors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from naslora.methods.layers import LowRankLinear, replace_qkv
from naslora.methods.lora import LoRASettings
from naslora.methods.registry import register
from naslora.nas.cell import NASCell, Side, check_side
from naslora.nas.operations import OPERATIONS, OperationOptions, check_operations
from naslora.sam.building import Sam

PAPER_COUNT: dict[str, Any] = {
    "projections": ["q", "v"],
    "style": "darts",
    "conv_bias": True,
}
"""Settings that give the paper's parameter counts: 4.016, 4.009 and 4.003 M on ViT-H.

Two cells a block, on q and on v, whose four convolutions are one depthwise-pointwise pair each,
with biases and affine batch normalisation: 296, 192 and 96 parameters a cell, alpha included, for
3, 2 and 1 of 3 channels. A branch on q and one on v have together as many weights as one on the
fused qkv, so LoRA's own count tells nothing about which it was.
"""


@dataclass(frozen=True)
class NASLoRASettings(LoRASettings):
    """Settings of NAS-LoRA, beside LoRA's: one cell for each low-rank branch.

    Attributes:
        ratio: share of the channels that go through the cell: ceil(ratio * rank) of them.
        channels: which ones, the "first" or the "last". The rows of A start alike, so that the
            choice matters by chance alone; eq. 3 leaves it open.
        operations: candidates, in the order of alpha.
        style: linear, or darts with ReLU and batch normalisation.
        depth: pairs of depthwise and pointwise convolution in a separable convolution, 1 or 2.
        conv_bias: biases in the convolutions of style darts.
        affine: scale and shift in the batch normalisation of style darts.
        count_padding: whether average pooling counts the zeros around a map.
        domain: where the cell looks for neighbours. "window": in the windows of the attention,
            padding included, as Conv-LoRA's code does; "image": in the whole map, before it is
            cut into windows, whose padding then is what the frozen layer makes of zero.
    """

    ratio: float = 1.0
    channels: Side = "first"
    operations: tuple[str, ...] = OPERATIONS
    style: Literal["linear", "darts"] = "linear"
    depth: int = 1
    conv_bias: bool = False
    affine: bool = True
    count_padding: bool = True
    domain: Literal["window", "image"] = "window"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.ratio <= 1:
            raise ValueError(f"ratio must be above 0 and at most 1, not {self.ratio!r}")
        check_side(self.channels)
        if isinstance(self.operations, str) or not isinstance(self.operations, Sequence):
            raise ValueError(f"operations must be a list, not {self.operations!r}")
        object.__setattr__(self, "operations", tuple(self.operations))
        check_operations(self.operations)
        if self.domain not in ("window", "image"):
            raise ValueError(f"domain must be window or image, not {self.domain!r}")
        if self.domain == "image" and self.style == "darts":
            raise ValueError(
                "domain image needs style linear: operations of style darts do not map zero to"
                " zero, so the padding of windows would not be the frozen layer's"
            )
        self.options()

    def options(self) -> OperationOptions:
        """The part of the settings that its operations take.

        Raises:
            ValueError: one of them is out of range.
        """
        return OperationOptions(
            self.style, self.depth, self.conv_bias, self.affine, self.count_padding
        )


def put_cells(sam: Sam, settings: NASLoRASettings) -> None:
    """Put a low-rank branch with a cell on the qkv layer of every chosen block."""

    def cell() -> NASCell:
        return NASCell(
            settings.rank,
            settings.operations,
            settings.ratio,
            settings.options(),
            settings.channels,
        )

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
    put_cells
)
