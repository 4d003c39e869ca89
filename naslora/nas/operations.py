"""The candidate operations of a NAS cell (paper, Sec. 3.2), on maps of few channels.

Every operation maps (B, C, H, W) to the same shape, with stride 1. The linear ones also give their
kernel: a dense C -> C convolution with zero padding that equals the operation at every position,
borders included. That holds by definition for all but the doubled separable convolution: two
convolutions in a row, each with its own zero padding, equal no single convolution at the borders.
Here the map is therefore padded once, by the reach of both, and both run without padding.

The paper names "separable" convolutions, and convolutions with "dilation rate 2". As in DARTS,
which has both, each is a depthwise and a pointwise one; the paper's parameter counts agree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Style = Literal["linear", "darts"]


@dataclass(frozen=True)
class OperationOptions:
    """What the paper leaves open about its operations.

    Attributes:
        style: "linear" convolutions alone; "darts" puts a ReLU before and batch normalisation
            after each, as the operations of DARTS do. Only linear ones collapse.
        depth: how often a separable convolution is applied, 1 or 2. DARTS has 2; 1 reproduces
            the paper's parameter counts.
        conv_bias: biases in the convolutions of style "darts".
        affine: scale and shift in the batch normalisation of style "darts".
        count_padding: whether average pooling divides by 9 at the borders too.
    """

    style: Style = "linear"
    depth: int = 1
    conv_bias: bool = False
    affine: bool = True
    count_padding: bool = True

    def __post_init__(self) -> None:
        if self.style not in ("linear", "darts"):
            raise ValueError(f"style must be linear or darts, not {self.style!r}")
        if self.depth not in (1, 2):
            raise ValueError(f"depth must be 1 or 2, not {self.depth!r}")
        for name in ("conv_bias", "affine", "count_padding"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be true or false")
        if self.style == "linear" and self.conv_bias:
            raise ValueError("conv_bias needs style darts; linear operations have no bias")


class Operation(nn.Module):
    """A map from (B, C, H, W) to (B, C, H, W)."""

    def kernel(self) -> Tensor | None:
        """The (C, C, k, k) kernel, k odd, of the equal zero-padded convolution, if there is one."""
        return None


class LinearConv(Operation):
    """Depthwise k x k, then pointwise, `depth` times, padded once; nothing else.

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
    """Mean over 3 x 3; at a border, of 9 values with zeros outside, or of those inside."""

    def __init__(self, channels: int, count_padding: bool = True):
        super().__init__()
        self.count_padding = count_padding
        self.register_buffer("_identity", _identity(channels), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=self.count_padding)

    def kernel(self) -> Tensor | None:
        return self.get_buffer("_identity").expand(-1, -1, 3, 3) / 9 if self.count_padding else None


class MaxPool(Operation):
    """Maximum over those of 3 x 3 positions that lie inside the map."""

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, 3, stride=1, padding=1)


class Skip(Operation):
    """The map itself."""

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("_kernel", _identity(channels), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x

    def kernel(self) -> Tensor:
        return self.get_buffer("_kernel")


class Zero(Operation):
    """No connection."""

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("_kernel", torch.zeros(channels, channels, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)

    def kernel(self) -> Tensor:
        return self.get_buffer("_kernel")


def _conv(size: int, dilation: int = 1) -> Callable[[int, OperationOptions], Operation]:
    def build(channels: int, options: OperationOptions) -> Operation:
        # DARTS doubles its separable convolutions only.
        depth = options.depth if dilation == 1 else 1
        if options.style == "linear":
            return LinearConv(channels, size, dilation, depth)
        return DartsConv(
            channels,
            size,
            dilation,
            depth,
            conv_bias=options.conv_bias,
            affine=options.affine,
        )

    return build


_BUILDERS: dict[str, Callable[[int, OperationOptions], Operation]] = {
    "sep_conv_3x3": _conv(3),
    "sep_conv_5x5": _conv(5),
    "dil_conv_3x3": _conv(3, dilation=2),
    "dil_conv_5x5": _conv(5, dilation=2),
    "avg_pool_3x3": lambda channels, options: AveragePool(channels, options.count_padding),
    "max_pool_3x3": lambda channels, options: MaxPool(),
    "skip": lambda channels, options: Skip(channels),
    "zero": lambda channels, options: Zero(channels),
}

OPERATIONS = tuple(_BUILDERS)


def check_operations(names: tuple[str, ...]) -> None:
    """See that a cell can be made of these operations.

    Raises:
        ValueError: there is none, one is unknown, or one comes twice.
    """
    if not names:
        raise ValueError("a cell needs at least one operation")
    for name in names:
        if name not in _BUILDERS:
            raise ValueError(f"no operation named {name!r}; there are {', '.join(OPERATIONS)}")
    if len(set(names)) != len(names):
        raise ValueError(f"an operation is listed twice: {', '.join(names)}")


def build_operation(name: str, channels: int, options: OperationOptions) -> Operation:
    """Make one operation on `channels` channels; weights are drawn from the global generator.

    Raises:
        ValueError: there is no operation of that name.
    """
    check_operations((name,))
    return _BUILDERS[name](channels, options)


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
    with torch.autocast(first.device.type, enabled=False):
        composed = F.conv2d(
            first.transpose(0, 1), second.flip(-1, -2), padding=second.shape[-1] - 1
        )
    return composed.transpose(0, 1)
