"""Textures and colours of the scenes of pretraining."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from naslora.synthetic.fields import AnyField, Field
from naslora.synthetic.noise import fractal_noise, smooth_noise

Shape = tuple[int, int]


def _rotated(rng: np.random.Generator, shape: Shape) -> tuple[AnyField, AnyField]:
    """Coordinates in pixels, turned by a random angle."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    turn = rng.uniform(0, 2 * np.pi)
    c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    return x * c + y * s, y * c - x * s


def _noise(rng: np.random.Generator, shape: Shape) -> Field:
    side = min(shape)
    scale = side * np.exp(rng.uniform(np.log(0.03), np.log(0.6)))
    return fractal_noise(rng, shape, scale, int(rng.integers(1, 4)))


def _stretched(rng: np.random.Generator, shape: Shape) -> Field:
    """Noise that is longer than wide, as grain and fur are."""
    rows, columns = int(rng.integers(4, 48)), int(rng.integers(4, 16))
    if rng.random() < 0.5:
        rows, columns = columns, rows
    return smooth_noise(rng, shape, 1.0) * 0.3 + _grid_noise(rng, shape, rows, columns)


def _grid_noise(rng: np.random.Generator, shape: Shape, rows: int, columns: int) -> Field:
    grid = Image.fromarray(rng.standard_normal((rows, columns)).astype(np.float32))
    return np.asarray(grid.resize(shape[::-1], Image.Resampling.BICUBIC), np.float32)


def _stripes(rng: np.random.Generator, shape: Shape) -> Field:
    u, v = _rotated(rng, shape)
    side = min(shape)
    period = side * np.exp(rng.uniform(np.log(0.03), np.log(0.25)))
    bend = rng.uniform(0, 0.6) * period * smooth_noise(rng, shape, side / 3)
    wave = np.sin((u + bend) * np.float32(2 * np.pi / period))
    if rng.random() < 0.3:
        wave = wave * np.sin(v * np.float32(2 * np.pi / (period * rng.uniform(0.7, 1.5))))
    return np.asarray(np.clip(wave * rng.uniform(1, 4), -1.2, 1.2), np.float32)


def _spots(rng: np.random.Generator, shape: Shape) -> Field:
    noise = smooth_noise(rng, shape, min(shape) * rng.uniform(0.03, 0.12))
    return np.clip((noise - rng.uniform(0.3, 1.2)) * rng.uniform(2, 8), -0.5, 1.5)


def _ridges(rng: np.random.Generator, shape: Shape) -> Field:
    """Veins: the lines where noise is zero."""
    noise = fractal_noise(rng, shape, min(shape) * rng.uniform(0.08, 0.4), 2)
    return np.asarray(2 * np.exp(-((noise / rng.uniform(0.05, 0.3)) ** 2)) - 0.7, np.float32)


def _gradient(rng: np.random.Generator, shape: Shape) -> Field:
    u, _ = _rotated(rng, shape)
    return np.asarray((u - u.mean()) * (2.5 / min(shape)), np.float32)


def _grain(rng: np.random.Generator, shape: Shape) -> Field:
    return rng.standard_normal(shape, dtype=np.float32)


_FIELDS: tuple[Callable[[np.random.Generator, Shape], Field], ...] = (
    _noise,
    _noise,
    _noise,
    _stretched,
    _stripes,
    _spots,
    _ridges,
    _gradient,
    _grain,
)


def draw_colour(rng: np.random.Generator, near: Field | None = None, distance: float = 1) -> Field:
    """A colour (3,) in [0, 1]: anywhere, or within a distance of another one."""
    if near is not None:
        step = rng.normal(size=3)
        # Most differences in nature are of brightness.
        step += rng.normal() * 1.5
        step *= distance / max(float(np.linalg.norm(step)), 1e-6)
        colour = near + step
        out = (colour < 0) | (colour > 1)
        colour = np.where(out, near - step, colour)
        return np.asarray(np.clip(colour, 0, 1), np.float32)
    grey = rng.uniform(0.05, 0.95)
    tint = rng.normal(size=3) * rng.uniform(0, 0.3)
    return np.asarray(np.clip(grey + tint, 0.02, 0.98), np.float32)


def draw_texture(
    rng: np.random.Generator, shape: Shape, colour: Field, strength: float | None = None
) -> Field:
    """A texture (H, W, 3) about a colour.

    Args:
        rng: the stream of the scene.
        shape: rows and columns.
        colour: (3,), the mean.
        strength: standard deviation of the brightness; drawn by default, from faint to strong.
    """
    if strength is None:
        strength = float(rng.uniform(0, 0.2)) ** 1.3
    field = _FIELDS[rng.integers(len(_FIELDS))](rng, shape)
    if rng.random() < 0.4:
        field = field + rng.uniform(0.2, 0.8) * _FIELDS[rng.integers(len(_FIELDS))](rng, shape)
    direction = np.asarray(1 + rng.normal(size=3) * rng.uniform(0, 0.8), np.float32)
    return np.asarray(colour + (strength * field)[..., None] * direction, np.float32)
