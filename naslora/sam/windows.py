"""Windows of maps of tokens, and layers that are computed before the map is cut into them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def is_pointwise(layer: nn.Module) -> bool:
    """Whether a layer treats each token separately: `nn.Linear`, or one with `pointwise` set."""
    return type(layer) is nn.Linear or bool(getattr(layer, "pointwise", False))


def apply_then_partition(layer: Callable[[Tensor], Tensor], x: Tensor, size: int) -> Tensor:
    """Apply a pointwise layer to the windows of a map, without computing it on their padding.

    The result is the same: the padding gets the layer's output for zero.

    Args:
        layer: (..., C) to (..., D).
        x: (B, H, W, C).
        size: side of a window.

    Returns:
        (B * windows, size, size, D).
    """
    H, W = x.shape[1:3]
    fill = layer(x.new_zeros(1, 1, 1, x.shape[-1])) if H % size or W % size else None
    return window_partition(layer(x), size, fill)


def window_partition(x: Tensor, size: int, fill: Tensor | None = None) -> Tensor:
    """Cut maps into windows, padded at the right and the bottom where needed.

    Args:
        x: (B, H, W, C).
        size: side of a window.
        fill: the padding's value, (1, 1, 1, C); zero by default.

    Returns:
        (B * windows, size, size, C), the windows of each map row-major.
    """
    B, H, W, C = x.shape
    right, bottom = -W % size, -H % size
    if fill is None:
        x = F.pad(x, (0, 0, 0, right, 0, bottom))
    else:
        x = torch.cat([x, fill.expand(B, H, right, C)], 2)
        x = torch.cat([x, fill.expand(B, bottom, W + right, C)], 1)
    x = x.reshape(B, (H + bottom) // size, size, (W + right) // size, size, C)
    return x.transpose(2, 3).reshape(-1, size, size, C)


def window_unpartition(windows: Tensor, shape: tuple[int, int]) -> Tensor:
    """Join windows into maps and drop the padding: the inverse of `window_partition`.

    Args:
        windows: (B * windows, size, size, C).
        shape: H and W of the maps.

    Returns:
        (B, H, W, C).
    """
    size, C = windows.shape[1], windows.shape[-1]
    H, W = shape
    rows, columns = -(-H // size), -(-W // size)
    x = windows.reshape(-1, rows, columns, size, size, C).transpose(2, 3)
    return x.reshape(-1, rows * size, columns * size, C)[:, :H, :W]
