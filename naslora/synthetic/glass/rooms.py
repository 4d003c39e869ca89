"""Rooms for transparent objects: walls, floors, tables, and opaque things as distractors."""

from __future__ import annotations

import numpy as np

from naslora.synthetic.fields import Field
from naslora.synthetic.glass.surfaces import Scene, body, label, paint, panel, shadow, within
from naslora.synthetic.noise import smooth_noise

_WALLS = np.array(
    [
        (0.86, 0.82, 0.74),
        (0.72, 0.76, 0.74),
        (0.82, 0.7, 0.58),
        (0.62, 0.66, 0.74),
        (0.9, 0.88, 0.86),
        (0.5, 0.44, 0.4),
    ],
    np.float32,
)
_GROUNDS = np.array(
    [
        (0.55, 0.38, 0.22),
        (0.7, 0.56, 0.4),
        (0.36, 0.26, 0.2),
        (0.62, 0.6, 0.58),
        (0.78, 0.76, 0.72),
    ],
    np.float32,
)
_PAINTS = np.array(
    [
        (0.75, 0.25, 0.2),
        (0.2, 0.35, 0.6),
        (0.85, 0.7, 0.3),
        (0.25, 0.45, 0.35),
        (0.92, 0.9, 0.86),
        (0.2, 0.2, 0.22),
    ],
    np.float32,
)


def empty_room(
    rng: np.random.Generator, shape: tuple[int, int], *, table: bool, clarity: float
) -> Scene:
    """A wall, and a table (seen from near) or a floor before it, without anything on them."""
    horizon = round(shape[0] * (rng.uniform(0.42, 0.58) if table else rng.uniform(0.72, 0.86)))
    scene = Scene(
        rng,
        np.zeros((*shape, 3), np.float32),
        np.zeros(shape, np.uint8),
        horizon,
        table,
        float(rng.choice((-1, 1)) * rng.uniform(0.4, 1)),
        clarity,
    )
    scene.image[:] = _wall(scene)
    return scene


def draw_ground(scene: Scene) -> None:
    """The table or the floor, over whatever of the wall is below the horizon."""
    rng = scene.rng
    rows = scene.height - scene.horizon
    depth = (np.arange(rows, dtype=np.float32)[:, None] + 1) / rows
    x = (np.arange(scene.width, dtype=np.float32)[None, :] / scene.width - 0.5) * 2
    # The ground seen in perspective: z goes away from the viewer.
    z = 1 / (0.25 + depth)
    across = x * z
    colour = _GROUNDS[rng.integers(len(_GROUNDS))]
    kind = int(rng.integers(3))
    if kind == 0:  # boards, which run away from the viewer
        tone = np.random.default_rng(int(rng.integers(1 << 30))).uniform(0.85, 1.1, 64)
        board = np.floor(across * rng.uniform(1.5, 4)).astype(int) % 64
        pattern = tone[board] * (1 + 0.05 * np.sin(40 * across + 3 * z))
    elif kind == 1:  # tiles
        size = rng.uniform(1.5, 3.5)
        tiles = (np.floor(across * size) + np.floor(z * size)) % 2
        pattern = 0.9 + rng.uniform(0.04, 0.25) * tiles
    else:  # cloth or stone
        pattern = 1 + 0.07 * smooth_noise(rng, (rows, scene.width), rng.uniform(2, 8))
    light = 0.85 + 0.3 * depth + 0.12 * scene.lamp * x
    scene.image[scene.horizon :] = colour * (pattern * light)[..., None]
    scene.labels[scene.horizon :] = 0
    edge = slice(scene.horizon, min(scene.horizon + (2 if scene.table else 1), scene.height))
    scene.image[edge] *= 1.15 if scene.table else 0.7


def draw_picture(scene: Scene, left: float, right: float) -> None:
    """An opaque picture, or a poster, on the wall."""
    rng = scene.rng
    top = scene.horizon * rng.uniform(0.12, 0.3)
    bottom = top + min((right - left) * rng.uniform(0.6, 1.2), 0.5 * scene.horizon)
    frame = panel(scene, left, right, (top,) * 2, (bottom,) * 2)
    paint(scene, frame, _PAINTS[rng.integers(len(_PAINTS))] * 0.6)
    inner = within(frame, (0.07, 0.93), (0.07, 0.93))
    first, second = _PAINTS[rng.choice(len(_PAINTS), 2, replace=False)]
    swing = np.sin(inner.u * rng.uniform(2, 9) + inner.v * rng.uniform(-9, 9))[..., None]
    paint(scene, inner, np.where(swing > rng.uniform(-0.5, 0.5), first, second))


def draw_opaque_thing(scene: Scene, centre: float, bottom: float, size: float) -> None:
    """A mug, a vase, a carton or a book: of the shapes of glass things, but not transparent."""
    rng = scene.rng
    colour = _PAINTS[rng.integers(len(_PAINTS))]
    shadow(scene, centre, bottom, 0.35 * size)
    kind = int(rng.integers(3))
    if kind == 2:
        wide, high = size * rng.uniform(0.5, 1), size * rng.uniform(0.3, 0.8)
        left, right, split = centre - wide / 2, centre + wide / 2, 0.7
        middle = left + split * wide
        front = panel(scene, left, middle, (bottom - high,) * 2, (bottom,) * 2)
        paint(scene, front, colour * (1 - 0.15 * front.v)[..., None])
        label(scene, front, 0)
        back = 0.12 * high
        side = panel(
            scene, middle, right, (bottom - high, bottom - high + back), (bottom, bottom - back)
        )
        paint(scene, side, colour * 0.65)
        label(scene, side, 0)
        return
    if kind == 0:  # a mug
        wide, high = 0.3 * size, 0.62 * size
        profile = [(0.0, wide), (1.0, 0.85 * wide)]
    else:  # a vase
        wide, high = 0.26 * size, size
        belly = rng.uniform(0.5, 0.75)
        profile = [
            (float(v), float(wide * (0.35 + 0.65 * np.exp(-(((v - belly) / 0.26) ** 2)))))
            for v in np.linspace(0, 1, 12)
        ]
    thing = body(scene, centre, bottom - high, bottom, profile, (0.25 * wide, 0.2 * wide))
    light = 0.95 - 0.55 * thing.u**2 + 0.25 * scene.lamp * thing.u
    paint(scene, thing, colour * np.clip(light, 0.15, 1.2)[..., None])
    label(scene, thing, 0)
    if kind == 0:
        hole = body(
            scene,
            centre,
            bottom - high,
            bottom - high + 0.5,
            [(0, 0.85 * wide), (1, 0.85 * wide)],
            (0.2 * wide, 0.2 * wide),
        )
        paint(scene, hole, colour * 0.3)


def _wall(scene: Scene) -> Field:
    """Plaster, wallpaper stripes, bricks or wainscot, lit from the lamp's side."""
    rng, height, width = scene.rng, scene.height, scene.width
    colour = _WALLS[rng.integers(len(_WALLS))]
    y = np.arange(height, dtype=np.float32)[:, None]
    x = np.arange(width, dtype=np.float32)[None, :]
    kind = int(rng.integers(4))
    if kind == 0:
        pattern = 1 + 0.03 * smooth_noise(rng, (height, width), 5)
    elif kind == 1:
        pattern = 1 + rng.uniform(0.03, 0.1) * np.sin(x * 2 * np.pi / rng.uniform(8, 22)) + 0 * y
    elif kind == 2:
        high = rng.uniform(7, 12)
        course = np.floor(y / high)
        joint = (y % high < 1) | ((x + (course % 2) * high) % (2 * high) < 1)
        pattern = np.where(joint, 0.82, 1 + 0.05 * smooth_noise(rng, (height, width), high))
    else:
        rail = scene.horizon * rng.uniform(0.55, 0.75)
        pattern = np.where(y > rail, 0.82, 1.0) * np.where(np.abs(y - rail) < 1.5, 1.2, 1) + 0 * x
    light = 0.82 + 0.14 * scene.lamp * (x / width - 0.5) * 2 + 0.1 * (1 - y / height)
    return np.asarray(colour * (pattern * light)[..., None], np.float32)
