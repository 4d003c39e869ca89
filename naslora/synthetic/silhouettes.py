"""Outlines of creatures and people as distance fields, for camouflage and for cast shadows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from naslora.synthetic.fields import Field

Point = tuple[float, float]


@dataclass(frozen=True)
class Canvas:
    """A pixel grid as seen from a figure that stands on it.

    Figures are drawn in units of their own size: x to the right, y downwards, the origin at the
    middle of the trunk. `axis_x` and `axis_y` are where these units point to in pixels (row,
    column), so that a figure can be placed, turned, mirrored, stretched and laid down as a shadow.
    """

    shape: tuple[int, int]
    origin: Point
    axis_x: Point
    axis_y: Point

    @classmethod
    def turned(
        cls, shape: tuple[int, int], origin: Point, size: float, angle: float, mirrored: bool
    ) -> Canvas:
        """A canvas whose unit is `size` pixels, turned by `angle` radians."""
        cosine, sine = size * np.cos(angle), size * np.sin(angle)
        flip = -1 if mirrored else 1
        return cls(shape, origin, (flip * sine, flip * cosine), (cosine, -sine))

    def coordinates(self) -> tuple[Field, Field]:
        """The figure's x and y of every pixel, (H, W) each."""
        rows, columns = np.mgrid[: self.shape[0], : self.shape[1]].astype(np.float32)
        rows -= self.origin[0]
        columns -= self.origin[1]
        (xr, xc), (yr, yc) = self.axis_x, self.axis_y
        area = xc * yr - xr * yc
        x = (columns * yr - rows * yc) / area
        y = (rows * xc - columns * xr) / area
        return np.asarray(x, np.float32), np.asarray(y, np.float32)


@dataclass(frozen=True)
class Figure:
    """Grows a distance field limb by limb; negative inside, in the figure's units."""

    x: Field
    y: Field
    distance: Field

    @classmethod
    def on(cls, canvas: Canvas) -> Figure:
        x, y = canvas.coordinates()
        return cls(x, y, np.full(canvas.shape, np.inf, np.float32))

    def limb(self, start: Point, end: Point, radii: tuple[float, float]) -> None:
        """Add a rounded, tapered stroke between two points."""
        dx, dy = end[0] - start[0], end[1] - start[1]
        along = (self.x - start[0]) * dx + (self.y - start[1]) * dy
        share = np.clip(along / max(dx * dx + dy * dy, 1e-6), 0, 1)
        gap = np.hypot(self.x - start[0] - share * dx, self.y - start[1] - share * dy)
        thick = radii[0] + share * (radii[1] - radii[0])
        np.minimum(self.distance, gap - thick, out=self.distance)

    def path(self, points: Sequence[Point], radii: tuple[float, float]) -> None:
        """Add strokes from point to point that taper from the first radius to the second."""
        steps = np.linspace(radii[0], radii[1], len(points))
        for index in range(len(points) - 1):
            self.limb(points[index], points[index + 1], (steps[index], steps[index + 1]))

    def disc(self, centre: Point, radius_x: float, radius_y: float) -> None:
        """Add an ellipse."""
        scaled = np.hypot((self.x - centre[0]) / radius_x, (self.y - centre[1]) / radius_y)
        np.minimum(self.distance, (scaled - 1) * min(radius_x, radius_y), out=self.distance)


def insect(rng: np.random.Generator, canvas: Canvas) -> Field:
    """A beetle or spider from above, with three or four pairs of bent legs and antennae."""
    figure = Figure.on(canvas)
    width = rng.uniform(0.16, 0.32)
    figure.disc((0, 0.1), width, rng.uniform(0.36, 0.55))
    figure.disc((0, -0.5), 0.7 * width, 0.16)
    pairs = int(rng.integers(3, 5))
    for index in range(pairs):
        hip = -0.35 + 0.6 * index / pairs
        reach = rng.uniform(0.5, 0.8)
        slant = (index / (pairs - 1) - 0.5) * rng.uniform(0.8, 1.6)
        for side in (-1, 1):
            knee = (side * (width + 0.45 * reach), hip + 0.35 * slant - 0.08)
            foot = (side * (width + reach), hip + slant + 0.06 * rng.normal())
            figure.path([(0, hip), knee, foot], (0.05, 0.018))
    for side in (-1, 1):
        figure.path([(0.05 * side, -0.6), (0.2 * side, -0.85), (0.3 * side, -1.1)], (0.02, 0.01))
    return figure.distance


def fish(rng: np.random.Generator, canvas: Canvas) -> Field:
    """A fish from the side."""
    figure = Figure.on(canvas)
    depth = rng.uniform(0.22, 0.42)
    figure.disc((0, 0), 0.75, depth)
    fork = rng.uniform(0.25, 0.45)
    for side in (-1, 1):
        figure.path([(-0.6, 0), (-0.85, 0.3 * side * fork), (-1.1, side * fork)], (0.1, 0.07))
        fin = rng.uniform(0.1, 0.3)
        figure.limb((0.15, side * depth * 0.8), (-0.2, side * (depth + fin)), (0.12, 0.04))
    return figure.distance


def quadruped(rng: np.random.Generator, canvas: Canvas) -> Field:
    """A four-legged animal from the side."""
    figure = Figure.on(canvas)
    trunk, height = rng.uniform(0.2, 0.3), rng.uniform(0.45, 0.8)
    figure.limb((-0.45, 0), (0.45, -0.02), (trunk * 0.95, trunk))
    head = (rng.uniform(0.7, 0.85), rng.uniform(-0.6, -0.15))
    figure.limb((0.45, -0.05), head, (trunk * 0.7, 0.13))
    figure.limb(head, (head[0] + 0.2, head[1] + 0.08), (0.13, 0.07))
    figure.limb(head, (head[0] - 0.06, head[1] - 0.22), (0.05, 0.02))
    for hip in (-0.52, -0.36, 0.36, 0.5):
        bend = hip + rng.normal(0, 0.08)
        figure.path([(hip, 0.05), (bend, 0.5 * height), (bend, height)], (0.12, 0.05))
    tail = rng.uniform(-0.3, 0.5)
    figure.path([(-0.6, -0.05), (-0.85, tail * 0.6), (-1.0, tail)], (0.06, 0.03))
    return figure.distance


def bird(rng: np.random.Generator, canvas: Canvas) -> Field:
    """A standing bird from the side."""
    figure = Figure.on(canvas)
    figure.disc((0, 0), 0.52, rng.uniform(0.26, 0.36))
    head = (rng.uniform(0.35, 0.5), rng.uniform(-0.55, -0.3))
    figure.limb((0.3, -0.1), head, (0.22, 0.16))
    figure.limb(head, (head[0] + rng.uniform(0.22, 0.5), head[1] + 0.05), (0.06, 0.015))
    figure.limb((-0.3, 0), (-1.0, rng.uniform(-0.1, 0.3)), (0.2, 0.06))
    for hip in (-0.05, 0.12):
        foot = (hip + rng.normal(0, 0.08), rng.uniform(0.6, 0.8))
        figure.path([(hip, 0.2), foot, (foot[0] + 0.12, foot[1])], (0.035, 0.025))
    return figure.distance


def moth(rng: np.random.Generator, canvas: Canvas) -> Field:
    """A moth or butterfly with open wings."""
    figure = Figure.on(canvas)
    figure.limb((0, -0.35), (0, 0.4), (0.09, 0.05))
    upper, lower = rng.uniform(0.6, 0.9), rng.uniform(0.35, 0.6)
    for side in (-1, 1):
        figure.path([(0, -0.1), (side * upper, -0.42), (side * upper, -0.15)], (0.18, 0.16))
        figure.path([(0, -0.1), (side * 0.6 * upper, -0.1)], (0.18, 0.25))
        figure.limb((0, 0.1), (side * lower, 0.42), (0.18, 0.22))
        figure.path([(0, -0.4), (side * 0.2, -0.65)], (0.015, 0.012))
    return figure.distance


def person(rng: np.random.Generator, canvas: Canvas) -> Field:
    """A standing person, arms down, bent or raised."""
    figure = Figure.on(canvas)
    figure.disc((0, -0.82), 0.12, 0.155)
    figure.limb((0, -0.75), (0, -0.5), (0.07, 0.09))
    broad = rng.uniform(0.16, 0.21)
    figure.path([(0, -0.45), (0, 0.05)], (broad, broad * 0.85))
    figure.limb((-broad * 0.75, -0.52), (broad * 0.75, -0.52), (0.09, 0.09))
    stride = rng.uniform(0.03, 0.2)
    for side in (-1, 1):
        figure.path(
            [(side * 0.09, 0.05), (side * (0.09 + stride / 2), 0.5), (side * (0.09 + stride), 1.0)],
            (0.11, 0.06),
        )
        bend, lift = rng.uniform(0.1, 0.3), rng.uniform(-0.7, 0.5)
        elbow = (side * (broad + bend), -0.25)
        hand = (side * (broad + bend * rng.uniform(-0.2, 1)), -0.2 + 0.4 * lift)
        figure.path([(side * broad * 0.9, -0.5), elbow, hand], (0.075, 0.05))
    return figure.distance


CREATURES: tuple[Callable[[np.random.Generator, Canvas], Field], ...] = (
    insect,
    fish,
    quadruped,
    bird,
    moth,
    person,
)
