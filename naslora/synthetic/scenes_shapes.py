"""Shapes of the scenes of pretraining, as masks.

Every function draws into an empty mask of a given size around a given centre, at about a given
radius, and none draws an object that exists: ellipses, blobs, polygons, stars, curves, networks,
level sets of noise, rings and groups of spots.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from naslora.synthetic.noise import fractal_noise

Mask = NDArray[np.bool_]
Shape = tuple[int, int]
Points = NDArray[np.float64]


def _canvas(shape: Shape) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    picture = Image.new("L", shape[::-1], 0)
    return picture, ImageDraw.Draw(picture)


def _mask(picture: Image.Image) -> Mask:
    return np.asarray(picture) > 0


def _fill(shape: Shape, points: Points) -> Mask:
    """The inside of a polygon with vertices (x, y)."""
    picture, draw = _canvas(shape)
    draw.polygon([(float(x), float(y)) for x, y in points], fill=1)
    return _mask(picture)


def _turned(points: Points, turn: float, centre: Points) -> Points:
    c, s = np.cos(turn), np.sin(turn)
    return np.asarray(points @ np.array([[c, s], [-s, c]]) + centre, np.float64)


def blob(rng: np.random.Generator, shape: Shape, centre: Points, radius: float) -> Mask:
    """An ellipse whose radius varies around it; smooth, or jagged at all scales."""
    angle = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    orders = np.arange(2, int(rng.choice([3, 5, 8, 24])))
    strength = rng.uniform(0, 0.5) / orders ** rng.uniform(0.9, 1.6)
    waves = np.cos(orders[:, None] * angle + rng.uniform(0, 2 * np.pi, (len(orders), 1)))
    r = radius * np.clip(1 + (rng.normal(size=len(orders)) * strength) @ waves, 0.25, 2)
    stretch = np.exp(rng.uniform(-0.6, 0.6))
    points = np.stack([r * np.cos(angle) * stretch, r * np.sin(angle) / stretch], 1)
    return _fill(shape, _turned(points, rng.uniform(0, 2 * np.pi), centre))


def ellipse(rng: np.random.Generator, shape: Shape, centre: Points, radius: float) -> Mask:
    """A superellipse: from a rhombus over an ellipse to a rounded rectangle."""
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    power = 2 / rng.uniform(1.2, 6)
    stretch = np.exp(rng.uniform(-0.9, 0.9))
    c, s = np.cos(angle), np.sin(angle)
    x = np.sign(c) * np.abs(c) ** power * radius * stretch
    y = np.sign(s) * np.abs(s) ** power * radius / stretch
    return _fill(shape, _turned(np.stack([x, y], 1), rng.uniform(0, np.pi), centre))


def polygon(rng: np.random.Generator, shape: Shape, centre: Points, radius: float) -> Mask:
    """A polygon of three to nine corners, convex or not, or a star."""
    corners = int(rng.integers(3, 10))
    angle = np.sort(rng.uniform(0, 2 * np.pi, corners))
    r = radius * rng.uniform(0.4, 1.3, corners)
    if rng.random() < 0.3:
        angle = np.linspace(0, 2 * np.pi, 2 * corners, endpoint=False)
        r = radius * np.where(np.arange(2 * corners) % 2, 1.2, rng.uniform(0.3, 0.8))
    points = np.stack([r * np.cos(angle), r * np.sin(angle)], 1)
    return _fill(shape, _turned(points, rng.uniform(0, 2 * np.pi), centre))


def _smooth_path(rng: np.random.Generator, start: Points, length: float, turn: float) -> Points:
    """A walk (32, 2) whose direction changes slowly."""
    steps = 32
    bends = np.interp(np.arange(steps), np.linspace(0, steps - 1, 6), rng.normal(0, turn, 6))
    direction = rng.uniform(0, 2 * np.pi) + np.cumsum(bends) / steps * 4
    moves = np.stack([np.cos(direction), np.sin(direction)], 1) * length / steps
    path = np.cumsum(moves, 0)
    return np.asarray(start + path - path[steps // 2], np.float64)


def _stroke(draw: ImageDraw.ImageDraw, path: Points, width: float) -> None:
    line = [(float(x), float(y)) for x, y in path]
    draw.line(line, fill=1, width=max(1, round(width)), joint="curve" if width > 2 else None)


def curve(rng: np.random.Generator, shape: Shape, centre: Points, radius: float) -> Mask:
    """A bent line of even width."""
    picture, draw = _canvas(shape)
    width = min(shape) * np.exp(rng.uniform(np.log(0.008), np.log(0.09)))
    path = _smooth_path(rng, centre, radius * rng.uniform(2, 6), rng.choice([0.1, 0.8, 2]))
    _stroke(draw, path, width)
    return _mask(picture)


def network(rng: np.random.Generator, shape: Shape, centre: Points, radius: float) -> Mask:
    """Several lines that cross or branch: a bush, a web, a lattice."""
    picture, draw = _canvas(shape)
    width = min(shape) * np.exp(rng.uniform(np.log(0.008), np.log(0.045)))
    trunk = _smooth_path(rng, centre, radius * rng.uniform(3, 8), rng.choice([0.05, 0.5, 1.5]))
    _stroke(draw, trunk, width)
    for _ in range(rng.integers(1, 6)):
        start = trunk[rng.integers(len(trunk))]
        twig = _smooth_path(rng, start, radius * rng.uniform(1, 5), rng.choice([0.05, 0.5, 1.5]))
        if rng.random() < 0.5:
            twig = twig - twig[0] + start
        _stroke(draw, twig, max(1.0, width * rng.uniform(0.5, 1.1)))
    return _mask(picture)


def level_set(rng: np.random.Generator, shape: Shape, centre: Points, radius: float) -> Mask:
    """Where noise that falls off from the centre is high: ragged, with islands and bays."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    stretch = np.exp(rng.uniform(-0.6, 0.6))
    distance = np.hypot((x - centre[0]) / stretch, (y - centre[1]) * stretch) / radius
    noise = fractal_noise(rng, shape, max(radius * rng.uniform(0.4, 1.5), 4), 3)
    return np.asarray(distance + rng.uniform(0.1, 0.5) * noise < 0.95)


def ring(rng: np.random.Generator, shape: Shape, centre: Points, radius: float) -> Mask:
    """A shape with a hole of the same kind."""
    make = (ellipse, blob, polygon)[rng.integers(3)]
    seed = int(rng.integers(2**31))
    inner = radius * rng.uniform(0.3, 0.8)
    outside = make(np.random.default_rng(seed), shape, centre, radius)
    return outside & ~make(np.random.default_rng(seed), shape, centre, inner)


def spots(rng: np.random.Generator, shape: Shape, centre: Points, radius: float) -> Mask:
    """A group of small round shapes, as one object."""
    picture, draw = _canvas(shape)
    size = max(radius * rng.uniform(0.08, 0.3), 1.2)
    for _ in range(rng.integers(3, 14)):
        x, y = centre + rng.normal(0, 0.6 * radius, 2)
        a, b = size * np.exp(rng.uniform(-0.5, 0.5, 2))
        draw.ellipse((x - a, y - b, x + a, y + b), fill=1)
    return _mask(picture)


SHAPES: dict[str, Callable[[np.random.Generator, Shape, Points, float], Mask]] = {
    "blob": blob,
    "ellipse": ellipse,
    "polygon": polygon,
    "curve": curve,
    "network": network,
    "level_set": level_set,
    "ring": ring,
    "spots": spots,
}
