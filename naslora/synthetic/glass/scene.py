"""Drawn rooms with transparent objects of eleven kinds, in the look of Trans10K."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy
from numpy.typing import NDArray

from naslora.synthetic.fields import Labels
from naslora.synthetic.glass.rooms import draw_ground, draw_opaque_thing, draw_picture, empty_room
from naslora.synthetic.glass.stuff import (
    draw_door,
    draw_floor_glass,
    draw_freezer,
    draw_shelf,
    draw_window,
)
from naslora.synthetic.glass.surfaces import Scene
from naslora.synthetic.glass.things import draw_box, draw_eyeglass
from naslora.synthetic.glass.vessels import draw_bottle, draw_bowl, draw_cup, draw_jar

# In the order of Trans10K-v2's ids, which count from 1; 0 is the background.
KINDS = (
    "shelf",
    "jar or tank",
    "freezer",
    "window",
    "glass door",
    "eyeglass",
    "cup",
    "floor glass",
    "glass bowl",
    "water bottle",
    "storage box",
)
_THINGS = {
    "jar or tank": draw_jar,
    "eyeglass": draw_eyeglass,
    "cup": draw_cup,
    "glass bowl": draw_bowl,
    "water bottle": draw_bottle,
    "storage box": draw_box,
}
# Each with the range of the share of the image's width that it takes.
_STUFF = {
    "shelf": (draw_shelf, 0.3, 0.5),
    "freezer": (draw_freezer, 0.35, 0.6),
    "window": (draw_window, 0.3, 0.55),
    "glass door": (draw_door, 0.25, 0.4),
    "floor glass": (draw_floor_glass, 0.6, 1.0),
}
# Each kind of glass has its own colour, warm for things and cool for stuff, so that a small model
# can learn the kinds from few images.
_COLOURS = {
    "shelf": (0.45, 0.95, 1.0),
    "jar or tank": (1.0, 0.72, 0.35),
    "freezer": (0.75, 0.8, 1.0),
    "window": (0.4, 0.65, 1.0),
    "glass door": (0.5, 0.5, 0.95),
    "eyeglass": (0.6, 0.35, 0.25),
    "cup": (1.0, 0.95, 0.4),
    "floor glass": (0.35, 0.9, 0.75),
    "glass bowl": (1.0, 0.5, 0.8),
    "water bottle": (1.0, 0.45, 0.4),
    "storage box": (0.75, 1.0, 0.35),
}
_COLOURED = 0.6  # strength of that colour in [0, 1]
_SHORT_SIDE = (160, 200)
_ASPECT = (1.0, 1.3)


def draw_glass(
    rng: np.random.Generator, kind: str | None = None, *, hard: bool = False
) -> tuple[NDArray[np.uint8], Labels]:
    """Draw a room or a table top with transparent objects.

    One to four objects. Things stand on a table, stuff is in the wall; opaque vases, cartons and
    pictures of similar shapes are there as distractors.

    Args:
        rng: what everything is drawn from.
        kind: one of `KINDS` that is in the image; by default a random one.
        hard: smaller, less visible glass in a more crowded room.

    Returns:
        Image uint8 (H, W, 3) and labels uint8 (H, W), 0 for background, else the position of the
        kind in `KINDS`, counted from 1; sides of 160 to 260 pixels.
    """
    first = kind or KINDS[rng.integers(len(KINDS))]
    things, stuff = _choose_kinds(rng, first, hard)
    short, long = int(rng.integers(*_SHORT_SIDE)), rng.uniform(*_ASPECT)
    upright = rng.random() < (0.3 if things else 0.15)
    shape = (round(short * long), short) if upright else (short, round(short * long))
    clarity = rng.uniform(0.45, 0.8) if hard else rng.uniform(0.85, 1.2)
    scene = empty_room(rng, shape, table=bool(things), clarity=clarity)
    _furnish_wall(scene, stuff, hard)
    draw_ground(scene)
    _lay_table(scene, things, hard)
    _colour(scene)
    return _photograph(scene), scene.labels


def _choose_kinds(rng: np.random.Generator, first: str, hard: bool) -> tuple[list[str], list[str]]:
    """The kinds of things and of stuff in an image, among them the first."""
    things, stuff = ([first], []) if first in _THINGS else ([], [first])
    if things:
        more = int(rng.integers(1, 4)) if hard else int(rng.integers(0, 3))
        things += [str(rng.choice(list(_THINGS))) for _ in range(more)]
        if rng.random() < 0.2:
            stuff = [str(rng.choice(("window", "shelf", "floor glass")))]
    elif rng.random() < 0.35 and first != "floor glass":
        stuff.append(str(rng.choice([k for k in _STUFF if k not in ("floor glass", first)])))
    return things, stuff


def _furnish_wall(scene: Scene, stuff: Sequence[str], hard: bool) -> None:
    """Put stuff side by side into the wall, with a picture where there is room."""
    rng = scene.rng
    shares = [rng.uniform(*_STUFF[kind][1:]) * (0.75 if hard else 1) for kind in stuff]
    total = sum(shares)
    shares = [share * min(1, 0.8 / total) if len(stuff) > 1 else share for share in shares]
    space = scene.width * (1 - sum(shares))
    gaps = rng.dirichlet(np.full(len(stuff) + 1, 3.0)) * space
    at = 0.0
    for gap, kind, share in zip(gaps[:-1], stuff, shares, strict=True):
        at = _with_picture(scene, at, float(gap))
        _STUFF[kind][0](scene, KINDS.index(kind) + 1, at, at + share * scene.width)
        at += share * scene.width
    _with_picture(scene, at, float(gaps[-1]))


def _with_picture(scene: Scene, at: float, gap: float) -> float:
    """Hang a picture into a gap of the wall, if it is wide enough; returns where the gap ends."""
    if gap > 0.25 * scene.width and scene.rng.random() < 0.7:
        margin = gap * scene.rng.uniform(0.2, 0.3)
        draw_picture(scene, at + margin, at + gap - margin)
    return at + gap


def _lay_table(scene: Scene, things: Sequence[str], hard: bool) -> None:
    """Put things and opaque ones on the ground, in random order, the nearest last."""
    rng = scene.rng
    opaque = int(rng.integers(1, 4)) if hard else int(rng.integers(0, 3))
    if not scene.table:
        opaque = min(opaque, 1)
    every = [*things, *[""] * opaque]
    if not every:
        return
    rng.shuffle(every)
    slot = scene.width / len(every)
    depth = scene.height - scene.horizon
    places = sorted(
        (float(rng.uniform(0.3, 0.92)) if scene.table else float(rng.uniform(0.2, 0.6)), i)
        for i in range(len(every))
    )
    largest = min(0.66 * scene.height, 0.9 * scene.width, 1.7 * slot)
    for near, index in places:
        kind = every[index]
        bottom = scene.horizon + near * depth
        size = largest * rng.uniform(0.55, 0.75 if hard else 0.95) * (0.8 + 0.25 * near)
        centre = slot * (index + rng.uniform(0.4, 0.6))
        centre = float(np.clip(centre, 0.45 * size, scene.width - 0.45 * size))
        if kind:
            _THINGS[kind](scene, KINDS.index(kind) + 1, centre, bottom, min(size, bottom / 1.3))
        else:
            draw_opaque_thing(scene, centre, bottom, 0.8 * size)


def _colour(scene: Scene) -> None:
    """Tint every kind of glass in its colour, less so in scenes with less visible glass."""
    share = min(_COLOURED * scene.clarity, 1.0)
    colours = np.array([(1.0, 1.0, 1.0), *(_COLOURS[kind] for kind in KINDS)], np.float32)
    scene.image *= 1 - share + share * colours[scene.labels]


def _photograph(scene: Scene) -> NDArray[np.uint8]:
    """Effects of a camera: colour cast, uneven light, blur and noise."""
    rng = scene.rng
    y, x = np.mgrid[-1 : 1 : scene.height * 1j, -1 : 1 : scene.width * 1j].astype(np.float32)
    vignette = 1 - rng.uniform(0.05, 0.2) * (x * x + y * y)
    cast = rng.uniform(0.94, 1.06, 3).astype(np.float32) * rng.uniform(0.8, 1.1)
    image = scene.image * vignette[..., None] * cast
    sharp = rng.uniform(0.35, 0.7)
    image = scipy.ndimage.gaussian_filter(image, (sharp, sharp, 0))
    image += rng.normal(0, rng.uniform(0.004, 0.014), scene.labels.shape)[..., None]
    return np.asarray(np.clip(image, 0, 1) * 255, np.uint8)
