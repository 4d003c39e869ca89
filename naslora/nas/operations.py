"""The candidate operations of a NAS cell (paper, Sec. 3.2), on maps of few channels.

Every operation maps (B, C, H, W) to the same shape, with stride 1. The linear ones also give their
kernel: a dense C -> C convolution with zero padding that equals the operation at every position,
borders included. That holds by definition for all but the doubled separable convolution: two
convolutions in a row, each with its own zero padding, equal no single convolution at the borders.
Here the map is therefore padded once, by the reach of both, and both run without padding.

The paper names "separable" convolutions, and convolutions with "dilation rate 2". As in DARTS
(Liu et al., ICLR 2019, arXiv 1806.09055), which has both, each is a depthwise and a pointwise one;
the paper's parameter counts agree.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naslora.core.precision import without_autocast
from naslora.nas.settings import CellSettings, OperationName


class Operation(nn.Module):
    """A map from (B, C, H, W) to (B, C, H, W)."""

    def kernel(self) -> Tensor | None:
        """The (C, C, k, k) kernel, k odd, of the equal zero-padded convolution, if there is one."""
        return None


class LinearConv(Operation):
    """Depthwise k x k, then pointwise, `depth` times, padded once, without activation or
    normalisation.

    Args:
        channels: C.
        size: k, odd.
        dilation: of the depthwise convolution.
        depth: number of such pairs.
    """

    def __init__(self, channels: int, size: int, dilation: int = 1, depth: int = 1):
        super().__init__()
        self.channels = channels
        self.dilation = dilation
        self.padding = depth * dilation * (size - 1) // 2
        self.depthwise = nn.ParameterList(
            nn.Conv2d(channels, channels, size, groups=channels, bias=False).weight
            for _ in range(depth)
        )
        self.pointwise = nn.ParameterList(
            nn.Conv2d(channels, channels, 1, bias=False).weight for _ in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, [self.padding] * 4)
        for depthwise, pointwise in zip(self.depthwise, self.pointwise, strict=True):
            x = F.conv2d(x, depthwise, groups=self.channels, dilation=self.dilation)
            x = F.conv2d(x, pointwise)
        return x

    def kernel(self) -> Tensor:
        stages: list[Tensor] = [
            pointwise * _dilate(depthwise, self.dilation).transpose(0, 1)
            for depthwise, pointwise in zip(self.depthwise, self.pointwise, strict=True)
        ]
        kernel = stages[0]
        for stage in stages[1:]:
            kernel = _compose(kernel, stage)
        return kernel


class DartsConv(Operation):
    """ReLU, depthwise k x k, pointwise, batch normalisation; `depth` times, each padded."""

    def __init__(
        self,
        channels: int,
        size: int,
        dilation: int = 1,
        depth: int = 1,
        *,
        conv_bias: bool = False,
        affine: bool = True,
    ):
        super().__init__()
        padding = dilation * (size - 1) // 2
        stages: list[nn.Module] = []
        for _ in range(depth):
            stages += [
                nn.ReLU(),
                nn.Conv2d(
                    channels,
                    channels,
                    size,
                    padding=padding,
                    dilation=dilation,
                    groups=channels,
                    bias=conv_bias,
                ),
                nn.Conv2d(channels, channels, 1, bias=conv_bias),
                nn.BatchNorm2d(channels, affine=affine),
            ]
        self.stages = nn.Sequential(*stages)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.stages(x)
        return y


class AveragePool(Operation):
    """Mean over 3 x 3 positions; those outside the map count as zeros, or not at all."""

    def __init__(self, channels: int, count_padding: bool = True):
        super().__init__()
        self.count_padding = count_padding
        self.register_buffer("_identity", _identity(channels), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=self.count_padding)

    def kernel(self) -> Tensor | None:
        return self.get_buffer("_identity").expand(-1, -1, 3, 3) / 9 if self.count_padding else None


class MaxPool(Operation):
    """Maximum over 3 x 3 positions; those outside the map are ignored."""

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, 3, stride=1, padding=1)


class NormalisedPool(Operation):
    """Pooling, then batch normalisation without scale and shift, as in the search of DARTS."""

    def __init__(self, pool: Operation, channels: int):
        super().__init__()
        self.pool = pool
        self.norm = nn.BatchNorm2d(channels, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.pool(x))
        return y


class Skip(Operation):
    """The identity."""

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("_kernel", _identity(channels), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x

    def kernel(self) -> Tensor:
        return self.get_buffer("_kernel")


class Zero(Operation):
    """No connection: zeros."""

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("_kernel", torch.zeros(channels, channels, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)

    def kernel(self) -> Tensor:
        return self.get_buffer("_kernel")


Builder = Callable[[int, CellSettings], Operation]


def _conv(size: int, dilation: int = 1) -> Builder:
    def build(channels: int, settings: CellSettings) -> Operation:
        # DARTS doubles its separable convolutions only.
        depth = settings.depth if dilation == 1 else 1
        if settings.style == "linear":
            return LinearConv(channels, size, dilation, depth)
        return DartsConv(
            channels,
            size,
            dilation,
            depth,
            conv_bias=settings.conv_bias,
            affine=settings.affine,
        )

    return build


def _pool(pool: Callable[[int, CellSettings], Operation]) -> Builder:
    def build(channels: int, settings: CellSettings) -> Operation:
        operation = pool(channels, settings)
        return operation if settings.style == "linear" else NormalisedPool(operation, channels)

    return build


_BUILDERS: dict[OperationName, Builder] = {
    "sep_conv_3x3": _conv(3),
    "sep_conv_5x5": _conv(5),
    "dil_conv_3x3": _conv(3, dilation=2),
    "dil_conv_5x5": _conv(5, dilation=2),
    "avg_pool_3x3": _pool(lambda channels, settings: AveragePool(channels, settings.count_padding)),
    "max_pool_3x3": _pool(lambda channels, settings: MaxPool()),
    "skip": lambda channels, settings: Skip(channels),
    "zero": lambda channels, settings: Zero(channels),
}


def build_operation(name: OperationName, channels: int, settings: CellSettings) -> Operation:
    """Make one operation on `channels` channels; weights are drawn from the global generator."""
    return _BUILDERS[name](channels, settings)


def _identity(channels: int) -> Tensor:
    return torch.eye(channels)[:, :, None, None]


def _dilate(kernel: Tensor, dilation: int) -> Tensor:
    """Spread the taps of (..., k, k) kernels, with zeros between them."""
    if dilation == 1:
        return kernel
    size = dilation * (kernel.shape[-1] - 1) + 1
    spread = kernel.new_zeros(*kernel.shape[:-2], size, size)
    spread[..., ::dilation, ::dilation] = kernel
    return spread


def _compose(first: Tensor, second: Tensor) -> Tensor:
    """The kernel of convolving with `first`, then with `second`, both (C, C, k, k)."""
    with without_autocast(first.device):
        composed = F.conv2d(
            first.transpose(0, 1), second.flip(-1, -2), padding=second.shape[-1] - 1
        )
    return composed.transpose(0, 1)
