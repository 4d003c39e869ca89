"""Surfaces of glass in a drawn scene: where they lie, and how they bend, tint and mirror light."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from naslora.synthetic.fields import Field, Labels


@dataclass
class Scene:
    """An image that is being drawn, from the back to the front.

    Attributes:
        rng: what everything random is drawn from.
        image: (H, W, 3) in [0, 1].
        labels: uint8 (H, W), the class of what is in front.
        horizon: row at which the wall meets the ground.
        table: whether the ground is a table, seen from near, and not the floor.
        lamp: where light comes from, -1 (left) to 1 (right).
        clarity: how visible glass is; 1 is usual.
    """

    rng: np.random.Generator
    image: Field
    labels: Labels
    horizon: int
    table: bool
    lamp: float
    clarity: float

    @property
    def height(self) -> int:
        return int(self.labels.shape[0])

    @property
    def width(self) -> int:
        return int(self.labels.shape[1])


@dataclass(frozen=True)
class Surface:
    """A part of the image with coordinates of its own.

    Attributes:
        rows, columns: the part.
        u: (h, w) across: -1 to 1 on a round body, 0 to 1 on a panel.
        v: (h, w) down, 0 to 1.
        half: (h, 1) half of a round body's width in pixels, or (1, 1) of a panel's.
        cover: (h, w) share of each pixel that the surface covers.
    """

    rows: slice
    columns: slice
    u: Field
    v: Field
    half: Field
    cover: Field

    @property
    def part(self) -> tuple[slice, slice]:
        return self.rows, self.columns


def body(
    scene: Scene,
    centre: float,
    top: float,
    bottom: float,
    profile: Sequence[tuple[float, float]],
    round_: tuple[float, float] = (0.0, 0.0),
    tilt: float = 0.0,
) -> Surface:
    """A body of revolution, upright.

    Args:
        scene: where it stands.
        centre: column of its axis.
        top: row of its upper end.
        bottom: row of its lower end.
        profile: pairs of v and half the width there, in pixels, from top to bottom.
        round_: pixels by which the middle of the upper end bulges up and that of the lower end
            down, as round ends do when seen from above.
        tilt: columns that the axis moves per row.
    """
    above, below = round_
    half = max(width for _, width in profile) + abs(tilt) * (bottom - top) / 2
    rows = _clip(top - above, bottom + below, scene.height)
    columns = _clip(centre - half, centre + half, scene.width)
    y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]
    x = np.arange(columns.start, columns.stop, dtype=np.float32)[None, :]
    v = (y - top) / (bottom - top)
    knots, widths = zip(*profile, strict=True)
    width = np.interp(v, knots, widths).astype(np.float32)
    past = np.where(v < 0, (top - y) / max(above, 1e-3), (y - bottom) / max(below, 1e-3))
    width *= np.sqrt(np.clip(1 - np.clip(past, 0, 1) ** 2, 0, 1))
    axis = centre + tilt * (y - (top + bottom) / 2)
    reach = np.maximum(width, 1e-3)
    u = np.clip((x - axis) / reach, -2, 2)
    # The last row of a round end is thinner than a pixel, and has no inside.
    cover = np.clip(width - np.abs(x - axis) + 0.5, 0, 1) * (width > 0.7)
    v = np.broadcast_to(v, u.shape)
    return Surface(rows, columns, _field(u), _field(v), _field(reach), _field(cover))


def panel(
    scene: Scene,
    left: float,
    right: float,
    top: tuple[float, float],
    bottom: tuple[float, float],
) -> Surface:
    """A flat rectangle, turned about a vertical axis: `top` and `bottom` rows of both sides."""
    rows = _clip(min(top), max(bottom), scene.height)
    columns = _clip(left, right, scene.width)
    y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]
    x = np.arange(columns.start, columns.stop, dtype=np.float32)[None, :]
    u = np.broadcast_to((x - left) / (right - left), (len(y), x.shape[1]))
    upper, lower = (ends[0] + (ends[1] - ends[0]) * u for ends in (top, bottom))
    v = (y - upper) / (lower - upper)
    inside = (u >= 0) & (u <= 1) & (v >= 0) & (v <= 1)
    half = np.full((1, 1), (right - left) / 2)
    return Surface(rows, columns, _field(u), _field(v), _field(half), _field(inside))


def within(surface: Surface, u: tuple[float, float], v: tuple[float, float]) -> Surface:
    """The part of a surface between some of its coordinates; it keeps the coordinates."""
    inside = (surface.u >= u[0]) & (surface.u <= u[1])
    inside &= (surface.v >= v[0]) & (surface.v <= v[1])
    cover = _field(surface.cover * inside)
    return Surface(surface.rows, surface.columns, surface.u, surface.v, surface.half, cover)


def inside(outer: Surface, inner: Surface) -> tuple[slice, slice]:
    """Where a smaller surface lies in a larger one's arrays."""
    down, right = inner.rows.start - outer.rows.start, inner.columns.start - outer.columns.start
    height, width = inner.u.shape
    return slice(down, down + height), slice(right, right + width)


def paint(scene: Scene, surface: Surface, colour: ArrayLike, strength: ArrayLike = 1.0) -> None:
    """Cover a surface with a colour, one or per pixel, as opaquely as `strength` says."""
    share = np.clip(surface.cover * np.asarray(strength, np.float32), 0, 1)[..., None]
    view = scene.image[surface.part]
    view += share * (np.asarray(colour, np.float32) - view)


def glow(scene: Scene, surface: Surface, light: Field) -> None:
    """Add white light (h, w)."""
    scene.image[surface.part] += (surface.cover * light * scene.clarity)[..., None]


def tint(scene: Scene, surface: Surface, colour: ArrayLike, depth: ArrayLike = 1.0) -> None:
    """Filter light as coloured glass does; `depth` is the length of the way through it."""
    way = surface.cover * np.asarray(depth, np.float32) * scene.clarity
    scene.image[surface.part] *= np.power(np.asarray(colour, np.float32), way[..., None])


def label(scene: Scene, surface: Surface, class_: int) -> None:
    """Label a surface with a class where it covers at least half of a pixel."""
    scene.labels[surface.part][surface.cover >= 0.5] = class_


def refract(scene: Scene, surface: Surface, *, inverted: float, edge: float) -> None:
    """Show what is behind a round body as it is seen through it.

    Args:
        scene: the scene.
        surface: a round body.
        inverted: 0 for an empty vessel, up to 1 for a full one, which swaps left and right.
        edge: how much the wall bends light near the outline.
    """
    reach = surface.half
    moved = -inverted * 1.9 * surface.u - edge * surface.u * np.abs(surface.u) ** 3
    _look_at(scene, surface, moved * reach * min(scene.clarity, 1.2), np.zeros_like(surface.u))


def refract_down(scene: Scene, surface: Surface, rows: ArrayLike) -> None:
    """Show what is behind a surface, shifted by a number of rows."""
    _look_at(scene, surface, np.zeros_like(surface.u), np.broadcast_to(rows, surface.u.shape))


def rim(scene: Scene, surface: Surface, dark: float, light: float) -> None:
    """The outline of a round body: a dark line, and a light one within."""
    edge = np.abs(surface.u)
    tint(scene, surface, (dark, dark, dark * 1.05), np.clip((edge - 0.8) / 0.2, 0, 1) ** 2)
    glow(scene, surface, light * np.exp(-(((edge - 0.84) / 0.05) ** 2)).astype(np.float32))


def streak(
    scene: Scene,
    surface: Surface,
    at: float,
    wide: float,
    v: tuple[float, float],
    strength: float,
) -> None:
    """A highlight along a body or a panel, at u = `at`, between two values of v."""
    fade = np.clip(np.minimum(surface.v - v[0], v[1] - surface.v) / 0.04, 0, 1)
    glow(scene, surface, _field(strength * fade * np.exp(-(((surface.u - at) / wide) ** 2))))


def mirror(scene: Scene, surface: Surface, strength: float) -> None:
    """The room's faint mirror image and slanted bands of light, as on a pane."""
    rng = scene.rng
    behind = scene.image[:, ::-1][surface.part]
    grey = behind.mean(axis=2)
    paint(scene, surface, (behind + grey[..., None]) / 2 + 0.08, 0.22 * strength * scene.clarity)
    slant = surface.u + surface.v * rng.uniform(0.3, 0.8)
    for _ in range(int(rng.integers(2, 4))):
        at, wide = rng.uniform(0.1, 1.5), rng.uniform(0.02, 0.1)
        band = np.clip((wide - np.abs(slant - at)) / 0.03 + 0.5, 0, 1)
        glow(scene, surface, _field(band * rng.uniform(0.08, 0.2) * strength))


def lumps(scene: Scene, surface: Surface, size: float) -> Field:
    """Random lumps of `size` pixels, in [0, 1]: (h, w) of a surface."""
    height, width = surface.u.shape
    rows, columns = (int(np.ceil(side / size)) + 1 for side in (height, width))
    shades = scene.rng.random((rows, columns))
    y = (np.arange(height) / size).astype(int)
    x = (np.arange(width) / size).astype(int)
    dome_y = np.abs(np.arange(height) / size % 1 - 0.5)[:, None]
    dome_x = np.abs(np.arange(width) / size % 1 - 0.5)[None, :]
    dome = 1 - 1.6 * (dome_y**2 + dome_x**2)
    return np.asarray(np.clip(shades[y][:, x] * 0.6 + 0.4 * dome, 0, 1), np.float32)


def shadow(
    scene: Scene, centre: float, row: float, half: float, depth: float = 0.35, flat: float = 0.3
) -> None:
    """A soft shadow on the ground, away from the lamp."""
    rows = _clip(row - 3 * half * flat, row + 3 * half * flat, scene.height)
    columns = _clip(centre - 3 * half, centre + 3 * half, scene.width)
    y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] - row
    x = np.arange(columns.start, columns.stop, dtype=np.float32)[None, :]
    x = x - centre + scene.lamp * half * 0.5
    dark = depth * np.exp(-((x / (1.1 * half)) ** 2) - (y / (flat * half)) ** 2)
    scene.image[rows, columns] *= (1 - dark)[..., None]


def _look_at(scene: Scene, surface: Surface, right: NDArray[Any], down: NDArray[Any]) -> None:
    y, x = np.mgrid[surface.part]
    rows = np.clip(np.rint(y + down), 0, scene.height - 1).astype(np.intp)
    columns = np.clip(np.rint(x + right), 0, scene.width - 1).astype(np.intp)
    paint(scene, surface, scene.image[rows, columns])


def _clip(first: float, last: float, end: int) -> slice:
    """Whole pixels from first to last, as far as they are in the image; at least one."""
    start = min(max(int(np.floor(first)), 0), end - 1)
    return slice(start, min(max(int(np.ceil(last)) + 1, start + 1), end))


def _field(values: NDArray[Any]) -> Field:
    return np.asarray(values, np.float32)
