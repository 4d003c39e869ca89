"""The NAS cell: a softmax mixture of candidate operations on a low-rank map (eq. 2 and 3)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naslora.nas.operations import Operation, build_operation
from naslora.nas.settings import CellSettings

_ALPHA_STD = 1e-3


def selected_channels(channels: int, ratio: float) -> int:
    """The number of channels that go through the operations: ceil(ratio * channels), at least 1.

    The product is rounded to one decimal before, so that a ratio of 0.67 selects 2 of 3 channels.
    """
    return max(1, math.ceil(round(ratio * channels, 1)))


class NASCell(nn.Module):
    """y = sum_i softmax(alpha)_i O_i(x) on ceil(ratio * r) channels; the rest is unchanged.

    The operations are built on those channels only: masking with zeros, as eq. 3 is written,
    would let pointwise convolutions write into the unchanged channels.

    All operations that have a kernel are applied as one convolution with the weighted sum of the
    kernels. That costs one small convolution instead of many, in training too, with the same
    outputs and the same gradients to every weight and to alpha.

    Args:
        channels: r, the rank.
        settings: see `CellSettings`.

    Attributes:
        alpha: the architecture parameters before softmax, drawn from 0.001 * N(0, 1).
        fused: set False to apply the operations one by one.
        num_selected: number of channels that go through the operations.
        channel_slice: the slice of these channels.
        normalised: whether operations have batch normalisation, in style darts.
    """

    def __init__(self, channels: int, settings: CellSettings | None = None):
        super().__init__()
        settings = settings or CellSettings()
        self.channels = channels
        self.num_selected = selected_channels(channels, settings.ratio)
        start = 0 if settings.channels == "first" else channels - self.num_selected
        self.channel_slice = slice(start, start + self.num_selected)
        self.fused = True
        self.normalised = settings.style == "darts"
        self.operation_names = settings.operations
        self.alpha = nn.Parameter(_ALPHA_STD * torch.randn(len(self.operation_names)))
        self.operations = nn.ModuleList(
            build_operation(name, self.num_selected, settings) for name in self.operation_names
        )

    def operation_weights(self) -> Tensor:
        """The weight of each operation, softmax(alpha)."""
        return self.alpha.softmax(0)

    def forward(self, x: Tensor) -> Tensor:
        """Mix a channels-last map (B, H, W, r) into one of the same shape."""
        weights = self.operation_weights()
        operations = self.operation_list()
        if not self.fused:
            return apply_selected(x, self.channel_slice, None, weights, operations)
        kernel, rest = self.decompose(weights)
        return apply_selected(
            x, self.channel_slice, kernel, weights[rest], [operations[i] for i in rest]
        )

    def operation_list(self) -> list[Operation]:
        """The operations, in the order of alpha."""
        return list(cast("Iterable[Operation]", self.operations))

    def decompose(self, weights: Tensor) -> tuple[Tensor | None, list[int]]:
        """Split the mixture into one kernel and the operations that have none.

        Returns:
            The weighted sum of all kernels, (c, c, k, k) with k the largest among them or None
            without any, and the indices of the operations that remain.
        """
        kernels = [operation.kernel() for operation in self.operation_list()]
        rest = [i for i, kernel in enumerate(kernels) if kernel is None]
        size = max((kernel.shape[-1] for kernel in kernels if kernel is not None), default=0)
        terms = [
            F.pad(weight * kernel, [(size - kernel.shape[-1]) // 2] * 4)
            for weight, kernel in zip(weights, kernels, strict=True)
            if kernel is not None
        ]
        return (torch.stack(terms).sum(0) if terms else None), rest


def apply_selected(
    x: Tensor,
    chosen: slice,
    kernel: Tensor | None,
    weights: Tensor,
    operations: Sequence[Operation],
) -> Tensor:
    """Apply a kernel plus weighted operations to the chosen channels of (B, H, W, r)."""
    inside = x[..., chosen].permute(0, 3, 1, 2)
    terms = [
        weight * operation(inside) for weight, operation in zip(weights, operations, strict=True)
    ]
    if kernel is not None:
        terms.append(F.conv2d(inside, kernel, padding=kernel.shape[-1] // 2))
    mixed: Tensor = terms[0]
    for term in terms[1:]:
        mixed = mixed + term
    mixed = mixed.permute(0, 2, 3, 1)
    if mixed.shape[-1] < x.shape[-1]:
        mixed = torch.cat([x[..., : chosen.start], mixed, x[..., chosen.stop :]], dim=-1)
    return mixed


def cells(model: nn.Module) -> dict[str, NASCell]:
    """The NAS cells of a model, by module name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, NASCell)}


def architecture_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The trainable alphas of all cells; empty for a model without cells."""
    return [cell.alpha for cell in cells(model).values() if cell.alpha.requires_grad]


def weight_parameters(model: nn.Module) -> list[nn.Parameter]:
    """All trainable parameters but the alphas."""
    alphas = {id(alpha) for alpha in architecture_parameters(model)}
    return [p for p in model.parameters() if p.requires_grad and id(p) not in alphas]


def operation_shares(model: nn.Module) -> dict[str, list[float]]:
    """Softmax(alpha) of every cell by module name, in the order of its operations (Figure C2)."""
    return {name: cell.operation_weights().detach().tolist() for name, cell in cells(model).items()}
