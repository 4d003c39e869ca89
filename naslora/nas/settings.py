"""Settings of a NAS cell and of the optimisers of Algorithm 1."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from naslora.core.validation import DistinctTuple, Settings, StrictSettings

OperationName = Literal[
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
    "avg_pool_3x3",
    "max_pool_3x3",
    "skip",
    "zero",
]
OPERATIONS: tuple[OperationName, ...] = get_args(OperationName)

PAPER_COUNT: dict[str, Any] = {
    "projections": ["q", "v"],
    "style": "darts",
    "conv_bias": True,
}
"""Settings of `nas_lora` that give the paper's parameter counts: 4.016, 4.009, 4.003 M on ViT-H.

There are two cells per block, on q and on v. Each of their four convolutions is a depthwise and a
pointwise one, with biases and affine batch normalisation: 296, 192 and 96 parameters per cell,
alpha included, for 3, 2 and 1 of 3 channels. Two branches on q and v have as many weights as one on
the fused qkv, so LoRA's own count does not tell which is meant. The study `paper` uses these.
"""


class CellSettings(StrictSettings):
    """Settings of a cell.

    Attributes:
        ratio: share of the channels that go through the operations: ceil(ratio * r) of them.
        channels: whether the "first" or the "last" channels do; eq. 3 leaves it open. All rows of A
            are initialised alike, so the choice makes no systematic difference.
        operations: the candidate operations, in the order of alpha.
        style: "linear" convolutions only; "darts" puts a ReLU before and batch normalisation
            after each convolution, and batch normalisation after each pooling, as DARTS does
            during search. Only linear ones collapse.
        depth: how often a separable convolution is applied, 1 or 2. DARTS has 2; 1 reproduces
            the paper's parameter counts.
        conv_bias: biases in the convolutions of style "darts".
        affine: scale and shift in the batch normalisation after the convolutions of style "darts".
            After pooling there are none.
        count_padding: whether average pooling divides by 9 at the borders too.
    """

    ratio: Annotated[float, Field(gt=0, le=1)] = 1.0
    channels: Literal["first", "last"] = "first"
    operations: DistinctTuple[OperationName] = OPERATIONS
    style: Literal["linear", "darts"] = "linear"
    depth: Annotated[int, Field(ge=1, le=2)] = 1
    conv_bias: bool = False
    affine: bool = True
    count_padding: bool = True

    @model_validator(mode="after")
    def _linear_operations_have_no_bias(self) -> CellSettings:
        if self.style == "linear" and self.conv_bias:
            raise ValueError("conv_bias needs style darts; linear operations have no bias")
        return self


class ArchitectureSettings(Settings):
    """Stage 2 of Algorithm 1: Adam on the architecture parameters alpha.

    Attributes:
        start_epoch: T_B, the number of epochs that train only the weights w.
        alternation: `stage_wise` makes a second pass for alpha; `simultaneous` updates w and alpha
            from one pass.
        data: images of the second pass: the training batch, validation images, or the half of the
            training images that w is not trained on.
        every_n_steps: alpha is updated in every n-th step of an epoch.
        learning_rate: the learning rate of alpha.
        weight_decay: the weight decay of alpha, as coupled L2.
    """

    start_epoch: Annotated[int, Field(ge=0)]
    alternation: Literal["stage_wise", "simultaneous"]
    data: Literal["batch", "val", "held_out"]
    every_n_steps: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _data_is_used(self) -> ArchitectureSettings:
        if self.alternation == "simultaneous" and self.data != "batch":
            raise ValueError("simultaneous steps share one batch, so data must be batch")
        return self


def rate_text(learning_rate: float, decay_start: float) -> str:
    """A learning rate and its schedule, in words."""
    if decay_start == 1:
        return f"{learning_rate:g}"
    since = f" after {100 * decay_start:.0f} % of the steps" if decay_start else ""
    return f"{learning_rate:g}, falling to zero along half a cosine{since}"


class OptimiserSettings(Settings):
    """Adam on the weights w, with coupled L2, and the optimisation of alpha.

    Attributes:
        learning_rate: the learning rate of w.
        decay_start: share of the run's steps after which the learning rate of w falls to zero along
            half a cosine: 1 for a constant rate, 0 for cosine annealing. That of alpha is constant,
            as in DARTS.
        weight_decay: the weight decay of w.
        architecture: how alpha is trained.
    """

    learning_rate: Annotated[float, Field(gt=0)]
    decay_start: Annotated[float, Field(ge=0, le=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    architecture: ArchitectureSettings
