"""Round shapes with an irregular outline."""

from __future__ import annotations

import numpy as np

from naslora.synthetic.fields import Field


def blob_distance(
    rng: np.random.Generator,
    shape: tuple[int, int],
    centre: tuple[float, float],
    radius: float,
    stretch: float,
    wobble: float,
) -> Field:
    """Distance (H, W) from the centre of a round shape in units of its radius: 1 on its outline.

    The outline is an ellipse of axis ratio `stretch` whose radius varies by about `wobble`.
    """
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    dy, dx = y - centre[0], x - centre[1]
    turn = rng.uniform(0, np.pi)
    u = (dx * np.cos(turn) + dy * np.sin(turn)) / np.sqrt(stretch)
    v = (-dx * np.sin(turn) + dy * np.cos(turn)) * np.sqrt(stretch)
    angle = np.arctan2(v, u)
    outline = np.full(shape, radius, np.float32)
    for k in range(2, 6):
        strength = wobble * rng.normal() / k
        outline += radius * strength * np.cos(k * angle + rng.uniform(0, 2 * np.pi))
    return np.asarray(np.hypot(u, v) / np.maximum(outline, radius * 0.4), np.float32)
