"""Centre lines of drawn road networks: towns, suburbs, the country, and motorways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Road:
    """A road.

    Attributes:
        points: (N, 2) x and y along its centre, in pixels.
        width: of the carriageway, in pixels.
        lit: how light its surface is, in [0, 1].
        houses: whether houses line it.
    """

    points: Points
    width: float
    lit: float
    houses: bool


def draw_network(rng: np.random.Generator, side: int) -> list[Road]:
    """Roads of a square of `side` pixels, of one kind of settlement."""
    return _KINDS[rng.choice(len(_KINDS), p=_WEIGHTS)](rng, side)


def _bent(rng: np.random.Generator, points: Points, bend: float) -> Points:
    """The line through the points, rounded, with bends of about `bend` pixels; shorter, fewer."""
    length = np.linspace(0, len(points) - 1, 14 * len(points))
    bend = bend * min(1.0, float(np.hypot(*np.diff(points, axis=0).T).sum()) / 200)
    spread = 3 * len(points)
    knots = np.linspace(0, len(points) - 1, spread)
    line = np.stack([np.interp(length, np.arange(len(points)), p) for p in points.T], 1)
    wander = np.stack([np.interp(length, knots, rng.normal(0, bend, spread)) for _ in "xy"], 1)
    kernel = np.hanning(15) / np.hanning(15).sum()
    padded = np.pad(line + wander, ((7, 7), (0, 0)), mode="edge")
    return np.stack([np.convolve(p, kernel, "valid") for p in padded.T], 1)


def _across(rng: np.random.Generator, side: int) -> Points:
    """Two ends outside opposite edges and a point between them."""
    angle = rng.uniform(0, np.pi)
    ahead = np.array([np.cos(angle), np.sin(angle)])
    aside = np.array([-ahead[1], ahead[0]])
    middle = side * (0.5 + rng.uniform(-0.3, 0.3) * aside)
    turn = side * rng.normal(0, 0.12) * aside
    return np.stack([middle - side * ahead, middle + turn, middle + side * ahead])


def _country(rng: np.random.Generator, side: int) -> list[Road]:
    """One to three winding roads, and lanes that end in the woods."""
    roads = []
    for _ in range(int(rng.integers(1, 4))):
        points = _bent(rng, _across(rng, side), 0.02 * side)
        roads.append(Road(points, rng.uniform(2.6, 4.2), rng.uniform(0.44, 0.62), True))
    for _ in range(int(rng.integers(0, 3))):
        main = roads[0].points
        start = main[int(rng.integers(len(main) // 4, 3 * len(main) // 4))]
        angle = rng.uniform(0, 2 * np.pi)
        end = start + side * rng.uniform(0.15, 0.4) * np.array([np.cos(angle), np.sin(angle)])
        lane = _bent(rng, np.stack([start, end]), 0.02 * side)
        lane[0] = start
        roads.append(Road(lane, rng.uniform(2, 2.8), rng.uniform(0.5, 0.68), True))
    return roads


def _grid(rng: np.random.Generator, side: int) -> list[Road]:
    """Blocks of a town, cut by a wider street."""
    angle = rng.uniform(0, np.pi / 2)
    ahead = np.array([np.cos(angle), np.sin(angle)])
    aside = np.array([-ahead[1], ahead[0]])
    centre = np.full(2, side / 2)
    lit = rng.uniform(0.42, 0.58)
    roads = []
    for u, v, block in ((ahead, aside, 0.14), (aside, ahead, 0.3)):
        block = side * block * rng.uniform(0.8, 1.3)
        place = -side * 0.75 + rng.uniform(0, block)
        while place < side * 0.75:
            ends = (-side, side) if rng.random() < 0.75 else np.sort(rng.uniform(-side, side, 2))
            line = np.stack([centre + place * v + end * u for end in ends])
            roads.append(Road(_bent(rng, line, 0.4), rng.uniform(2.4, 3.4), lit, True))
            place += block * rng.uniform(0.8, 1.25)
    main = _bent(rng, _across(rng, side), 0.004 * side)
    roads.append(Road(main, rng.uniform(4.5, 6.5), lit * 1.05, False))
    return roads


def _suburb(rng: np.random.Generator, side: int) -> list[Road]:
    """Loops and dead ends that hang on a through road."""
    main = _bent(rng, _across(rng, side), 0.02 * side)
    lit = rng.uniform(0.44, 0.64)
    roads = [Road(main, rng.uniform(3.2, 4.6), lit, True)]
    for _ in range(int(rng.integers(3, 7))):
        inside = np.flatnonzero(((main > 0) & (main < side)).all(axis=1))
        if len(inside) < 4:
            break
        i, j = np.sort(rng.choice(inside, 2, replace=False))
        start, end = main[i], main[j]
        along = main[min(i + 1, len(main) - 1)] - main[i - 1]
        out = np.array([-along[1], along[0]]) / (np.hypot(*along) + 1e-6)
        depth = side * rng.uniform(0.15, 0.45) * rng.choice([-1, 1])
        if np.hypot(*(end - start)) > 0.2 * side and rng.random() < 0.65:
            loop = np.stack([start, start + depth * out, end + depth * out, end])
        else:
            loop = np.stack(
                [start, start + 0.5 * depth * out, start + depth * (out + 0.4 * out[::-1])]
            )
        points = _bent(rng, loop, 0.012 * side)
        points[0] = start
        roads.append(Road(points, rng.uniform(2.6, 3.4), lit * rng.uniform(0.95, 1.05), True))
        if len(loop) == 4:
            points[-1] = end
    return roads


def _motorway(rng: np.random.Generator, side: int) -> list[Road]:
    """Two carriageways, a bridge across them, and ramps between."""
    base = _bent(rng, _across(rng, side), 0.01 * side)
    ahead = np.gradient(base, axis=0)
    aside = np.stack([-ahead[:, 1], ahead[:, 0]], 1) / np.hypot(*ahead.T)[:, None]
    gap = side * rng.uniform(0.02, 0.04)
    wide, lit = rng.uniform(4.5, 6), rng.uniform(0.44, 0.6)
    roads = [Road(base + s * gap * aside, wide, lit, False) for s in (-1, 1)]
    middle = int(len(base) * rng.uniform(0.4, 0.6))
    for s in (-1, 1):
        near = base[middle] + s * 2.5 * gap * aside[middle]
        far = base[middle] + s * side * aside[middle]
        roads.append(Road(_bent(rng, np.stack([near, far]), 0.006 * side), 3.6, lit, True))
    roads.append(Road(np.stack([roads[-1].points[0], roads[-2].points[0]]), 3.6, lit, False))
    for s in (-1, 1):
        if rng.random() < 0.75:
            turn = np.linspace(0, 1.6 * np.pi, 30) + rng.uniform(0, 2 * np.pi)
            radius = side * rng.uniform(0.07, 0.15)
            centre = base[middle] + s * (gap + radius + 2) * aside[middle]
            centre = centre + rng.choice([-1, 1]) * (radius + 2) * ahead[middle] / np.hypot(
                *ahead[middle]
            )
            loop = centre + radius * np.stack([np.cos(turn), np.sin(turn)], 1)
            roads.append(Road(loop, 2.8, lit, False))
    return roads


_KINDS: tuple[Callable[[np.random.Generator, int], list[Road]], ...] = (
    _country,
    _grid,
    _suburb,
    _motorway,
)
_WEIGHTS = (0.3, 0.25, 0.33, 0.12)
