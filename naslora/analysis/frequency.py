"""The frequency axis of log amplitudes, without torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def frequencies(points: int) -> NDArray[np.float64]:
    """The frequencies of a curve as shares of pi: evenly spaced from 0 to 1, as the authors do.

    Strictly, the last frequency of a map of even size N is (N - 2) / N: its half has no sample at
    pi.
    """
    return np.linspace(0, 1, points)


def at_frequency(curve: ArrayLike, share: float) -> NDArray[np.float64]:
    """The value of curves (..., points) at the frequency `share` * pi, linearly interpolated."""
    values = np.asarray(curve, dtype=np.float64)
    place = share * (values.shape[-1] - 1)
    below = min(int(place), values.shape[-1] - 1)
    above = min(below + 1, values.shape[-1] - 1)
    between = values[..., below] + (place - below) * (values[..., above] - values[..., below])
    return np.asarray(between)
