"""Layers that adapt the attention's linear layers, and functions that find and replace those."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naslora.core.errors import SettingsError
from naslora.methods.settings import PROJECTIONS, Layers
from naslora.sam.building import Sam
from naslora.sam.image_encoder import Block
from naslora.sam.windows import apply_then_partition, window_partition


class AdaptedLinear(nn.Module):
    """A frozen `nn.Linear` with a method's additions.

    Like the layer that it wraps, it maps (..., in) to (..., out), and its weight and bias keep
    their names in the state dict. Subclasses override `forward`, and `merged` if they can merge.

    Attributes:
        pointwise: whether positions are independent of each other. The encoder calls pointwise
            layers with whole maps (B, H, W, C), and others with the windows of the attention
            (B * windows, h, w, C), which are zero where they extend beyond the map.
    """

    def __init__(self, base: nn.Linear, pointwise: bool = True):
        super().__init__()
        self.pointwise = pointwise
        self.in_features = base.in_features
        self.out_features = base.out_features
        self.weight = base.weight
        self.bias = base.bias

    def base(self, x: Tensor) -> Tensor:
        """The output of the layer that was wrapped."""
        return F.linear(x, self.weight, self.bias)

    def merged(self) -> nn.Linear:
        """A plain layer with the same outputs.

        Raises:
            SettingsError: no plain layer has the same outputs.
        """
        raise SettingsError(f"{type(self).__name__} does not merge into a plain layer")


class LowRank(nn.Module):
    """x -> scale * B c(A x): LoRA's branch (eq. 1), with an optional map c in between.

    A starts from kaiming_uniform(sqrt 5), B from zero, so that the branch starts from zero.

    Args:
        in_features: width of x.
        out_features: width of the output.
        rank: rows of A.
        scale: factor on the output.
        middle: c, from (B, H, W, rank) to the same shape; the identity by default.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        rank: int,
        scale: float = 1.0,
        middle: nn.Module | None = None,
    ):
        super().__init__()
        self.scale = scale
        self.lora_A = nn.Parameter(torch.empty(rank, in_features))
        self.lora_B = nn.Parameter(torch.zeros(out_features, rank))
        self.middle = middle
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.down(x))

    def down(self, x: Tensor) -> Tensor:
        """A x."""
        return F.linear(x, self.lora_A)

    def up(self, z: Tensor) -> Tensor:
        """The branch's output for z = A x: scale * B c(z)."""
        if self.middle is not None:
            z = self.middle(z)
        if self.scale != 1:
            z = z * self.scale
        return F.linear(z, self.lora_B)

    def matrix(self, middle: Tensor | None = None) -> Tensor:
        """The matrix scale * B M A, with M (rank, rank) in place of c; in float32 or wider."""
        dtype = torch.promote_types(self.lora_A.dtype, torch.float32)
        A = self.lora_A.detach().to(dtype)
        if middle is not None:
            A = middle.to(A) @ A
        return self.scale * (self.lora_B.detach().to(dtype) @ A)


class LowRankLinear(AdaptedLinear):
    """A frozen linear layer plus low-rank branches: one for its whole output, or for parts of it.

    Args:
        base: the layer.
        rank: of every branch.
        scale: factor on every branch.
        projections: thirds of the output, out of "q", "k", "v", that get a branch each; by default
            one branch covers the whole output.
        middle: builds the map between A and B of one branch.
        pointwise: see `AdaptedLinear`; False if `middle` looks at neighbours in a window.

    Attributes:
        parts: the slice of the output that each branch changes, by the branch's name.
    """

    def __init__(
        self,
        base: nn.Linear,
        rank: int,
        scale: float = 1.0,
        projections: Sequence[str] | None = None,
        middle: Callable[[], nn.Module] | None = None,
        pointwise: bool = True,
    ):
        super().__init__(base, pointwise)
        third = base.out_features // len(PROJECTIONS)
        parts: dict[str, slice] = {
            name: slice(i * third, (i + 1) * third)
            for i, name in enumerate(PROJECTIONS)
            if name in (projections or ())
        }
        self.parts = parts or {"qkv": slice(None)}
        self.branches = nn.ModuleDict(
            {
                name: LowRank(
                    base.in_features,
                    third if projections else base.out_features,
                    rank,
                    scale,
                    middle() if middle else None,
                )
                for name in self.parts
            }
        )
        self.branches.to(base.weight.device, base.weight.dtype)

    def forward(self, x: Tensor) -> Tensor:
        y = self.base(x)
        for name, branch in self.named_branches():
            self._add(y, name, branch(x))
        return y

    def in_windows(self, x: Tensor, size: int) -> Tensor:
        """The output of `forward` for the windows of a map (B, H, W, in), without work on padding.

        The frozen layer and A are pointwise, so they are applied to the map before it is cut into
        windows; A maps padding to zeros either way. A subclass whose own `forward` looks at
        neighbours overrides this method too.

        Returns:
            (B * windows, size, size, out).
        """
        y = apply_then_partition(self.base, x, size)
        for name, branch in self.named_branches():
            self._add(y, name, branch.up(window_partition(branch.down(x), size)))
        return y

    def _add(self, y: Tensor, name: str, term: Tensor) -> None:
        """Add a branch's output in place, since nothing else needs the base layer's output."""
        if self.parts[name] == slice(None):
            y += term
        else:
            y[..., self.parts[name]] += term

    def named_branches(self) -> Iterator[tuple[str, LowRank]]:
        """The branches, by "qkv" or the projection's name."""
        yield from cast("Iterator[tuple[str, LowRank]]", iter(self.branches.items()))

    def merged(self, matrices: Mapping[str, Tensor] | None = None) -> nn.Linear:
        """A plain layer; `matrices` (rank, rank), by branch, replace the maps in between.

        Raises:
            SettingsError: a branch has a map in between, and no matrix for it is given.
        """
        weight = self.weight.detach().to(torch.promote_types(self.weight.dtype, torch.float32))
        weight = weight.clone()
        for name, branch in self.named_branches():
            matrix = (matrices or {}).get(name)
            if branch.middle is not None and matrix is None:
                raise SettingsError(
                    "a layer with a map between its low-rank factors has no equal plain layer"
                )
            weight[self.parts[name]] += branch.matrix(matrix)
        return plain_linear(weight.to(self.weight.dtype), self.bias)


def plain_linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A frozen `nn.Linear` with these tensors; draws no random numbers."""
    with torch.device("meta"):
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    linear.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        linear.bias = nn.Parameter(bias.detach(), requires_grad=False)
    return linear


def encoder_blocks(sam: Sam, layers: Layers = None) -> list[Block]:
    """The image encoder's blocks, or those at the given indices.

    If the number of blocks is odd, the middle one belongs to the last half. In the paper's Table 8,
    which counts from 1, the halves are blocks 1 to 16 and 17 to 32 (it prints 16 to 32, with the
    parameter count of 16 blocks).

    Raises:
        SettingsError: the encoder has no such block.
    """
    blocks = [cast(Block, block) for block in sam.image_encoder.blocks]
    if layers is None:
        return blocks
    if isinstance(layers, str):
        middle = len(blocks) // 2
        return blocks[:middle] if layers == "first_half" else blocks[middle:]
    if outside := [i for i in layers if not 0 <= i < len(blocks)]:
        raise SettingsError(
            f"{sam.backbone} has no block {', '.join(map(str, outside))}",
            remedy=f"choose layers from 0 to {len(blocks) - 1}",
        )
    return [blocks[i] for i in layers]


def replace_qkv(
    sam: Sam,
    build: Callable[[nn.Linear], nn.Module],
    layers: Layers = None,
) -> None:
    """Replace the fused qkv layer of the chosen blocks by `build(layer)`.

    Raises:
        SettingsError: the encoder has no such block.
        TypeError: a method replaced that layer already.
    """
    for block in encoder_blocks(sam, layers):
        if not isinstance(block.attn.qkv, nn.Linear):
            raise TypeError(f"qkv is a {type(block.attn.qkv).__name__} already")
        block.attn.qkv = build(block.attn.qkv)
