"""Smooth random fields."""

from __future__ import annotations

import numpy as np
from PIL import Image

from naslora.synthetic.fields import Field


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> Field:
    """Smooth noise (H, W) of mean 0 and standard deviation 1, with features of `scale` pixels."""
    rows, columns = (max(4, round(side / scale) + 1) for side in shape)
    grid = Image.fromarray(rng.standard_normal((rows, columns)).astype(np.float32))
    noise = np.array(grid.resize(shape[::-1], Image.Resampling.BICUBIC))
    noise -= noise.mean()
    return np.asarray(noise / max(float(noise.std()), 1e-6), np.float32)


def fractal_noise(
    rng: np.random.Generator, shape: tuple[int, int], scale: float, octaves: int
) -> Field:
    """Sum of `octaves` smooth noises, each half as coarse and half as strong as the one before."""
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        total += smooth_noise(rng, shape, max(scale / 2**octave, 1.0)) / 2**octave
    return np.asarray(total / max(float(total.std()), 1e-6), np.float32)
