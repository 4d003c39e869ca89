"""Drawn outdoor grounds, seen from above or up to the horizon."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from naslora.synthetic.fields import Field, Labels
from naslora.synthetic.noise import fractal_noise, smooth_noise
from naslora.synthetic.painting import blend

_SHEET = 384


@dataclass(frozen=True)
class View:
    """The perspective of the ground.

    Attributes:
        horizon: row of the horizon; far above the image when the camera looks down.
        scale: pixels of a ground unit at each row, (H, 1); 1 at the lower edge.
        near: 1 on the ground, 0 above the horizon, (H, 1).
    """

    shape: tuple[int, int]
    horizon: float
    scale: Field
    near: Field

    def ground(self) -> tuple[Field, Field]:
        """Coordinates (along, across) on the ground of every pixel, in pixels of the lower edge."""
        height, width = self.shape
        columns = np.arange(width, dtype=np.float32) - width / 2
        drop = height - self.horizon
        along = drop * (1 / np.maximum(self.scale, 0.05) - 1)
        across = columns / np.maximum(self.scale, 0.05)
        return np.broadcast_to(along, self.shape).astype(np.float32), across


def draw_view(rng: np.random.Generator, shape: tuple[int, int]) -> View:
    """Draw a perspective: a camera that looks down, or one with a horizon in the image."""
    height = shape[0]
    above = rng.random() < 0.6
    horizon = -rng.uniform(1.5, 6) * height if above else rng.uniform(0.12, 0.4) * height
    rows = np.arange(height, dtype=np.float32)[:, None]
    scale = np.clip((rows - horizon) / (height - horizon), 0, None)
    return View(shape, horizon, scale, (rows > horizon).astype(np.float32))


def sampled(rng: np.random.Generator, view: View, scale: float, octaves: int) -> Field:
    """Noise that lies on the ground: finer and fainter towards the horizon."""
    along, across = view.ground()
    sheet = fractal_noise(rng, (_SHEET, _SHEET), scale, octaves)
    # The camera looks at the sheet's middle, and what lies beyond the sheet mirrors it.
    places = [along, across + _SHEET / 2]
    noise = scipy.ndimage.map_coordinates(sheet, places, order=1, mode="reflect")
    return np.asarray(noise * np.clip(4 * view.scale * scale / 5, 0, 1), np.float32)


def draw_ground(rng: np.random.Generator, view: View) -> Field:
    """Colour (H, W, 3) of the sunlit ground."""
    kind = rng.choice(["asphalt", "slabs", "grass", "sand"])
    tones = {
        "asphalt": (0.52, 0.52, 0.53),
        "slabs": (0.66, 0.64, 0.6),
        "grass": (0.46, 0.56, 0.24),
        "sand": (0.74, 0.66, 0.5),
    }
    base = np.array(tones[kind], np.float32) * rng.uniform(0.8, 1.2)
    grain = {"asphalt": 0.05, "slabs": 0.05, "grass": 0.22, "sand": 0.11}[kind]
    texture = 1 + grain * sampled(rng, view, 5, 3) + 0.07 * sampled(rng, view, 120, 4)
    colour = base * texture[..., None]
    along, across = view.ground()
    turn = rng.uniform(-0.5, 0.5)
    u = along * np.cos(turn) + across * np.sin(turn)
    v = across * np.cos(turn) - along * np.sin(turn)
    if kind == "slabs":
        size, joint = rng.uniform(35, 80), rng.uniform(1.5, 3)
        row = np.floor(u / size)
        shift = size * rng.choice([0, 0.5])
        column = np.floor((v + shift * row) / size)
        tone = np.sin(row * 12.9898 + column * 78.233) * 43758.5453
        colour = colour * (0.95 + 0.1 * (tone - np.floor(tone)))[..., None]
        gap = np.minimum(u % size, (v + shift * row) % size) < joint
        colour = colour * (1 - 0.3 * gap[..., None])
    elif kind == "asphalt" and rng.random() < 0.6:
        dashed = (u % 90 < 50) | (rng.random() < 0.4)
        line = (np.abs(v - rng.uniform(-60, 60)) < rng.uniform(3, 6)) & dashed
        paint = np.array([0.92, 0.9, 0.82 if rng.random() < 0.6 else 0.4], np.float32)
        colour = np.where(line[..., None], paint, colour)
    elif kind == "grass":
        dry = np.clip(sampled(rng, view, 60, 3) - rng.uniform(-0.3, 1.5), 0, 1)[..., None]
        colour = colour * (1 - 0.7 * dry) + 0.7 * dry * np.array([0.7, 0.62, 0.4], np.float32)
    return np.asarray(colour, np.float32)


def stained(rng: np.random.Generator, view: View, image: Field) -> Field:
    """Wet or repaired patches, which are dark but not shadows."""
    if rng.random() < 0.5:
        return image
    patch = sampled(rng, view, rng.uniform(60, 140), 2) - rng.uniform(1.0, 1.8)
    cover = np.clip(patch * 8, 0, 1)[..., None] * rng.uniform(0.25, 0.55)
    return np.asarray(image * (1 - cover * np.array([0.9, 1.0, 1.1], np.float32)), np.float32)


def with_sky(
    rng: np.random.Generator, view: View, image: Field, labels: Labels
) -> tuple[Field, Labels]:
    """Draw the part above the horizon: sky, and dark hedges or pale walls before it."""
    if view.horizon < 1:
        return image, labels
    height, width = view.shape
    rows = np.arange(height, dtype=np.float32)[:, None]
    fade = np.clip(rows / view.horizon, 0, 1)[..., None]
    blue, pale = np.array([0.42, 0.6, 0.86]), np.array([0.85, 0.9, 0.95])
    sky = blend(
        blue * (1 - fade) + pale * fade, fractal_noise(rng, view.shape, 60, 3) - 0.6, (1, 1, 1)
    )
    profile = smooth_noise(rng, (4, width), width / rng.uniform(4, 14))[:1]
    ridge = view.horizon * (
        rng.uniform(0.4, 0.85) - rng.uniform(0.05, 0.2) * profile
    ) - 2 * fractal_noise(rng, view.shape, 9, 3)
    wall = rng.random() < 0.35
    if wall:
        ridge = np.full(view.shape, view.horizon * rng.uniform(0, 0.6), np.float32)
    tone = np.array([0.68, 0.58, 0.48] if wall else [0.2, 0.25, 0.13]) * rng.uniform(0.7, 1.2)
    relief = 1 + (0.06 if wall else 0.4) * fractal_noise(rng, view.shape, 7, 3)[..., None]
    behind = np.where((rows > ridge)[..., None], tone * relief, sky)
    seam = view.horizon + (0 if wall else 1.2 * fractal_noise(rng, view.shape, 8, 2))
    above = rows < seam
    labels = np.where(above, 0, labels).astype(np.uint8)
    return np.asarray(np.where(above[..., None], behind, image), np.float32), labels
