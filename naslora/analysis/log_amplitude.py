"""Relative log amplitude: the share of high frequencies in a feature map.

Park and Kim 2022, "How Do Vision Transformers Work?", Fig. 2 and their published code: with
f = ln(|FFT2(x)| + 1e-6), the mean of f over channels, along the diagonal from the centre of the
spectrum (the constant part) outwards, minus its value at the centre.
"""

from __future__ import annotations

import torch
from torch import Tensor

_EPSILON = 1e-6


def relative_log_amplitudes(maps: Tensor) -> Tensor:
    """The relative log amplitude over frequencies of each image; the first value is 0.

    Args:
        maps: features (B, C, N, N).

    Returns:
        (B, ceil(N / 2)), natural logarithm, float32 or wider, at `frequency.frequencies`.

    Raises:
        ValueError: the maps are not square: the frequencies of the two axes would differ along the
            diagonal.
    """
    size = maps.shape[-1]
    if maps.shape[-2] != size:
        raise ValueError(f"feature maps must be square, not {maps.shape[-2]} x {size}")
    maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
    log_amplitude = (torch.fft.fft2(maps).abs() + _EPSILON).log().mean(1)
    shifted = torch.fft.fftshift(log_amplitude, dim=(-2, -1))
    curve: Tensor = shifted.diagonal(dim1=-2, dim2=-1)[:, size // 2 :]
    return curve - curve[:, :1]
