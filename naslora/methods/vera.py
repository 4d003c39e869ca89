"""VeRA (Kopiczko et al., ICLR 2024, arXiv 2310.11454): shared random matrices, trained vectors per
layer.

The paper's 0.32 M parameters for VeRA are only its vectors: with rank 2048 and q, k and v separate,
3 * (2048 + 1280) in each of 32 blocks are 319,488. The paper says that the mask decoder is fully
tuned, as in all its other rows, so it is tuned here too, and our count on ViT-H is 3,825,024.
"""

from __future__ import annotations

from typing import Annotated, cast

import torch
import torch.nn.functional as F
from pydantic import Field, field_validator
from torch import Tensor, nn

from naslora.core.errors import SettingsError
from naslora.core.validation import StrictSettings
from naslora.methods.layers import AdaptedLinear, encoder_blocks, plain_linear, replace_qkv
from naslora.methods.registry import register
from naslora.methods.settings import PROJECTIONS, Layers, Projections, Width
from naslora.sam.building import Sam


class VeRASettings(StrictSettings):
    """Settings of VeRA.

    Attributes:
        rank: rows of A. 2048 gives the paper's count of the vectors on ViT-H.
        projections: thirds of the qkv layer with vectors of their own, out of q, k, v; or None for
            one pair of vectors on the fused layer.
        d_initial: initial value of the vector between A and B.
        projection_seed: seed of A and B, the same for every seed of a study, as in HF peft.
        layers: blocks to adapt: a list of indices from 0, "first_half" or "last_half"; by default
            all.
    """

    rank: Width = 2048
    projections: Projections | None = PROJECTIONS
    d_initial: float = 0.1
    projection_seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    layers: Layers = None

    @field_validator("d_initial")
    @classmethod
    def _vectors_get_a_gradient(cls, value: float) -> float:
        if value == 0:
            raise ValueError("must not be 0: both vectors would have no gradient and stay at zero")
        return value


@register("vera", title="VeRA", settings=VeRASettings, merges=("exact",))
def apply(sam: Sam, settings: VeRASettings) -> None:
    """Draw A and B once, and put vectors on the qkv layer of every chosen block."""
    like = cast(nn.Linear, encoder_blocks(sam)[0].attn.qkv).weight
    outputs, inputs = like.shape
    if settings.projections is not None:
        outputs //= len(PROJECTIONS)
    shared = SharedProjections(
        inputs, outputs, settings.rank, settings.projection_seed, like.device
    ).to(like.dtype)

    def build(base: nn.Linear) -> VeRALinear:
        if base.weight.shape != like.shape:
            raise SettingsError(
                "VeRA shares its matrices among all layers, and the qkv layers of this model have"
                f" shapes {list(like.shape)} and {list(base.weight.shape)}",
                remedy="choose layers of one shape, or another method",
            )
        return VeRALinear(base, shared, settings.projections, settings.d_initial)

    replace_qkv(sam, build, settings.layers)


class SharedProjections(nn.Module):
    """The frozen matrices of all layers: A (rank, in) and B (out, rank), kaiming uniform.

    They are non-persistent buffers of one module that all layers share, so they exist once and
    move with the model; the seed reproduces them. They are drawn in float32 on the CPU, whatever
    the default dtype and the model's device.

    Args:
        in_features: columns of A.
        out_features: rows of B.
        rank: rows of A.
        seed: of both.
        device: where they are stored; nothing is drawn on the meta device.
    """

    A: Tensor
    B: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        rank: int,
        seed: int,
        device: torch.device | str = "cpu",
    ):
        super().__init__()
        device = torch.device(device)
        generator = torch.Generator(device="cpu").manual_seed(seed)
        for name, shape in (("A", (rank, in_features)), ("B", (out_features, rank))):
            drawn_on = device if device.type == "meta" else "cpu"
            matrix = torch.empty(shape, dtype=torch.float32, device=drawn_on)
            if device.type != "meta":
                nn.init.kaiming_uniform_(matrix, generator=generator)
            self.register_buffer(name, matrix.to(device), persistent=False)


class VeRALinear(AdaptedLinear):
    """x -> W x + b + l_b * B(l_d * A x), with vectors l_d and l_b for each part of the output.

    l_b starts from zero, so the layer starts with the outputs of the one that it wraps.

    Args:
        base: the layer that has W and b.
        shared: A and B.
        projections: parts of the output, each with the number of outputs of B; None for all as one.
        d_initial: where l_d starts.

    Attributes:
        parts: the slices of the output.
    """

    def __init__(
        self,
        base: nn.Linear,
        shared: SharedProjections,
        projections: tuple[str, ...] | None = PROJECTIONS,
        d_initial: float = 0.1,
    ):
        super().__init__(base)
        self.shared = shared
        outputs, rank = shared.B.shape
        starts = (
            [0] if projections is None else [PROJECTIONS.index(p) * outputs for p in projections]
        )
        self.parts = [slice(start, start + outputs) for start in starts]
        like = base.weight
        self.lambda_d = nn.Parameter(like.new_full((len(starts), rank), d_initial))
        self.lambda_b = nn.Parameter(like.new_zeros(len(starts), outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.base(x)
        tokens = x.numel() // x.shape[-1]
        if self._is_dense_cheaper(tokens):
            change = F.linear(x, self._change().flatten(0, 1))
        else:
            hidden = F.linear(x, self.shared.A)[..., None, :] * self.lambda_d
            change = (F.linear(hidden.to(x.dtype), self.shared.B) * self.lambda_b).flatten(-2)
        for part, values in zip(self.parts, change.chunk(len(self.parts), -1), strict=True):
            y[..., part] += values
        return y

    def merged(self) -> nn.Linear:
        """A plain layer with the same outputs."""
        weight = self.weight.detach().to(torch.promote_types(self.weight.dtype, torch.float32))
        weight = weight.clone()
        for part, change in zip(self.parts, self._change().detach(), strict=True):
            weight[part] += change
        return plain_linear(weight.to(self.weight.dtype), self.bias)

    def _is_dense_cheaper(self, tokens: int) -> bool:
        """Whether l_b B l_d A as one matrix takes fewer products than its factors in turn.

        With the default rank on ViT-H, it does from about 1800 tokens on: in all but the smallest
        batches.
        """
        rank, inputs = self.shared.A.shape
        outputs = self.lambda_b.numel()
        factors = tokens * rank * (inputs + outputs)
        return (rank + tokens) * inputs * outputs < factors

    def _change(self) -> Tensor:
        """l_b B l_d A by part, (parts, out, in)."""
        product = self.shared.B @ (self.lambda_d[:, :, None] * self.shared.A)
        return self.lambda_b[:, :, None] * product
