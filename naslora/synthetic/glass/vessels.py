"""Transparent vessels, round and upright: cups, bottles, jars, bowls.

Each function draws one that stands at a row and is of about `size` pixels.
"""

from __future__ import annotations

import numpy as np

from naslora.synthetic.glass.surfaces import (
    Scene,
    Surface,
    body,
    glow,
    inside,
    label,
    lumps,
    paint,
    refract,
    refract_down,
    rim,
    shadow,
    streak,
    tint,
    within,
)

_DRINKS = ((0.95, 0.62, 0.12), (0.72, 0.16, 0.12), (0.93, 0.8, 0.3), (0.8, 0.88, 0.9))
# What jars, bowls and boxes hold.
CONTENTS = ((0.85, 0.2, 0.2), (0.95, 0.7, 0.15), (0.3, 0.6, 0.25), (0.9, 0.45, 0.55))
_CAPS = ((0.1, 0.25, 0.7), (0.8, 0.1, 0.1), (0.1, 0.5, 0.3), (0.9, 0.9, 0.92))


def draw_cup(scene: Scene, class_: int, centre: float, bottom: float, size: float) -> None:
    """An open tumbler or a wine glass, empty or with a drink."""
    rng = scene.rng
    shadow(scene, centre, bottom, 0.3 * size)
    if rng.random() < 0.35:
        _draw_wine_glass(scene, class_, centre, bottom, size)
        return
    height = 0.85 * size
    wide = height * rng.uniform(0.28, 0.4)
    narrow = wide * rng.uniform(0.7, 0.95)
    top, lip = bottom - height, 0.28 * wide
    cup = body(scene, centre, top, bottom, [(0, wide), (1, narrow)], (lip, 0.22 * narrow))
    label(scene, cup, class_)
    refract(scene, cup, inverted=0.05, edge=0.7)
    tint(scene, cup, (0.86, 0.92, 0.94), 0.5 + np.abs(cup.u) ** 4)
    if rng.random() < 0.6:
        _fill(scene, cup, rng.uniform(0.25, 0.6), _DRINKS[rng.integers(len(_DRINKS))])
    rim(scene, cup, 0.45, 0.3)
    base = within(cup, (-1, 1), (0.92, 2))
    tint(scene, base, (0.75, 0.82, 0.85))
    glow(scene, base, np.asarray(0.3 * (1 - np.abs(base.u)) ** 2, np.float32))
    _opening(scene, centre, top, wide, lip)
    _highlights(scene, cup, (0.1, 0.85))


def draw_bottle(scene: Scene, class_: int, centre: float, bottom: float, size: float) -> None:
    """A water bottle: a narrow neck with a coloured cap, rings, often a label."""
    rng = scene.rng
    height = 1.25 * size
    wide = height * rng.uniform(0.13, 0.17)
    top = bottom - height
    shadow(scene, centre, bottom, wide)
    profile = [(0, 0.36 * wide), (0.1, 0.36 * wide), (0.17, 0.42 * wide), (0.32, wide), (1, wide)]
    bottle = body(
        scene, centre, top, bottom, profile, (1, 0.2 * wide), tilt=float(rng.normal(0, 0.015))
    )
    label(scene, bottle, class_)
    refract(scene, bottle, inverted=0.9, edge=0.2)
    tint(scene, bottle, (0.55, 0.78, 0.95), 0.55 + 0.5 * np.abs(bottle.u) ** 3)
    rings = 0.5 + 0.5 * np.cos(bottle.v * np.pi * 2 * rng.integers(9, 14))
    ribbed = within(bottle, (-1, 1), (0.35, 0.97))
    tint(scene, ribbed, (0.8, 0.86, 0.9), 0.6 * rings)
    rim(scene, bottle, 0.5, 0.25)
    if rng.random() < 0.6:
        colour = np.array(_CAPS[rng.integers(len(_CAPS))], np.float32)
        band = within(bottle, (-1, 1), (0.48, 0.48 + rng.uniform(0.14, 0.24)))
        shade = 1 - 0.5 * bottle.u**2
        stripe = np.abs(np.sin(bottle.u * 5 + rng.uniform(0, 3)))[..., None]
        paint(scene, band, (colour * (0.7 + 0.5 * stripe)) * shade[..., None], 0.85)
    cap = within(bottle, (-1, 1), (-1, 0.09))
    colour = np.array(_CAPS[rng.integers(len(_CAPS))], np.float32)
    paint(scene, cap, colour * (1 - 0.45 * cap.u**2)[..., None])
    _highlights(scene, bottle, (0.2, 0.95))


def draw_jar(scene: Scene, class_: int, centre: float, bottom: float, size: float) -> None:
    """A jar with round shoulders and a broad lid, filled with sweets, grain or preserves."""
    rng = scene.rng
    height = 0.95 * size
    wide = height * rng.uniform(0.34, 0.44)
    top = bottom - height
    shadow(scene, centre, bottom, wide)
    profile = [(0, 0.74 * wide), (0.14, 0.74 * wide), (0.2, 0.86 * wide), (0.28, wide), (1, wide)]
    jar = body(scene, centre, top, bottom, profile, (0.12 * wide, 0.2 * wide))
    label(scene, jar, class_)
    refract(scene, jar, inverted=0.15, edge=0.7)
    tint(scene, jar, (0.8, 0.9, 0.86), 0.6 + 0.5 * np.abs(jar.u) ** 3)
    colour = np.array(CONTENTS[rng.integers(len(CONTENTS))], np.float32)
    inside = within(jar, (-0.93, 0.93), (rng.uniform(0.35, 0.55), 2))
    grains = lumps(scene, inside, max(0.07 * height, 3.0))
    shade = (1 - 0.4 * inside.u**2)[..., None]
    paint(scene, inside, colour * (0.55 + 0.75 * grains[..., None]) * shade, 0.88)
    rim(scene, jar, 0.45, 0.3)
    lid = within(jar, (-1.2, 1.2), (-1, 0.13))
    metal = np.array(((0.75, 0.72, 0.66), (0.55, 0.36, 0.2))[rng.integers(2)], np.float32)
    ridges = 0.85 + 0.15 * np.cos(lid.u * 40)
    paint(scene, lid, metal * (ridges * (1.1 - 0.6 * lid.u**2))[..., None])
    _highlights(scene, jar, (0.25, 0.9))


def draw_bowl(scene: Scene, class_: int, centre: float, bottom: float, size: float) -> None:
    """A wide bowl of cut glass, seen from above: a half ellipse under a broad opening."""
    rng = scene.rng
    wide = 0.62 * size
    height = wide * rng.uniform(0.62, 0.82)
    top, lip = bottom - height, 0.34 * wide
    shadow(scene, centre, bottom, 0.8 * wide)
    if rng.random() < 0.5:
        for _ in range(int(rng.integers(2, 5))):
            _draw_fruit(scene, centre + rng.uniform(-0.5, 0.5) * wide, top, 0.3 * wide)
    v = np.linspace(0, 1, 9)
    profile = [(float(t), float(wide * max((1 - t**2.6) ** 0.5, 0.36))) for t in v]
    bowl = body(scene, centre, top, bottom, profile, (lip, 0.07 * wide))
    label(scene, bowl, class_)
    refract_down(scene, bowl, -0.5 * height * (bowl.v - 0.4) * scene.clarity)
    tint(scene, bowl, (0.8, 0.86, 0.9), 0.6 + 0.4 * np.abs(bowl.u) ** 3)
    count = int(rng.integers(7, 12))
    angle = np.arcsin(np.clip(bowl.u, -1, 1)) * count
    cut = np.cos(angle + 6 * bowl.v) * np.cos(angle - 6 * bowl.v)
    outside = within(bowl, (-2, 2), (0.12, 2))
    glow(scene, outside, np.asarray(0.3 * np.clip(cut, 0, 1) ** 2, np.float32))
    tint(scene, outside, (0.6, 0.66, 0.7), np.clip(-cut, 0, 1))
    rim(scene, bowl, 0.5, 0.3)
    _opening(scene, centre, top, wide, lip)
    _highlights(scene, bowl, (0.1, 0.6))


def _draw_wine_glass(scene: Scene, class_: int, centre: float, bottom: float, size: float) -> None:
    rng = scene.rng
    height = 1.15 * size
    wide = height * rng.uniform(0.2, 0.25)
    top, stem = bottom - height, max(0.07 * wide, 1.2)
    profile = [(0, 0.72 * wide), (0.2, wide), (0.38, 0.8 * wide), (0.5, stem), (0.92, stem)]
    lip = 0.2 * wide
    glass = body(
        scene, centre, top, bottom, [*profile, (0.97, 0.75 * wide), (1, 0.8 * wide)], (lip, 2)
    )
    label(scene, glass, class_)
    refract(scene, glass, inverted=0.2, edge=0.6)
    tint(scene, glass, (0.86, 0.9, 0.93), 0.5 + np.abs(glass.u) ** 4)
    bowl = within(glass, (-0.94, 0.94), (0.2, 0.47))
    if rng.random() < 0.6:
        drink = _DRINKS[rng.integers(len(_DRINKS))]
        refract(scene, bowl, inverted=0.9, edge=0)
        tint(scene, bowl, np.array(drink) ** 1.5, 1.2)
    rim(scene, glass, 0.4, 0.35)
    _opening(scene, centre, top, 0.72 * wide, lip)
    _highlights(scene, glass, (0.05, 0.42))


def _fill(scene: Scene, vessel: Surface, level: float, colour: tuple[float, ...]) -> None:
    """A drink up to a level, 0 at the bottom to 1: it inverts what is behind, and has a surface."""
    inside = within(vessel, (-0.95, 0.95), (1 - level, 0.95))
    refract(scene, inside, inverted=0.85, edge=0)
    tint(scene, inside, colour, 1.3)
    line = np.exp(-(((vessel.v - (1 - level)) / 0.018) ** 2)) * (np.abs(vessel.u) < 0.95)
    glow(scene, vessel, np.asarray(0.22 * line, np.float32))


def _opening(scene: Scene, centre: float, row: float, wide: float, lip: float) -> None:
    """The lit edge of a round opening that is seen from above."""
    outer = body(scene, centre, row, row + 0.5, [(0, wide), (1, wide)], (lip, lip))
    thick = max(0.06 * wide, 1.3)
    inner = body(
        scene,
        centre,
        row,
        row + 0.5,
        [(0, wide - thick), (1, wide - thick)],
        (max(lip - thick, 0.5),) * 2,
    )
    ring = outer.cover.copy()
    ring[inside(outer, inner)] -= inner.cover
    paint(scene, outer, (0.94, 0.97, 0.98), 0.6 * ring * scene.clarity)
    tint(scene, inner, (0.88, 0.9, 0.92))


def _highlights(scene: Scene, surface: Surface, v: tuple[float, float]) -> None:
    """The lamp's mirror image on a round body, bright on its side and faint on the other."""
    at = 0.62 * scene.lamp / max(abs(scene.lamp), 0.5)
    streak(scene, surface, at, 0.08, v, 0.6)
    streak(scene, surface, -0.75 * (1 if at >= 0 else -1), 0.05, v, 0.28)


def _draw_fruit(scene: Scene, centre: float, row: float, radius: float) -> None:
    """A ball; what of it is behind the bowl's glass is seen through it."""
    ball = body(scene, centre, row, row + 0.5, [(0, radius), (1, radius)], (radius, radius))
    colour = np.array(CONTENTS[scene.rng.integers(len(CONTENTS))], np.float32)
    y = np.arange(ball.rows.start, ball.rows.stop, dtype=np.float32)[:, None] - row
    light = np.clip(0.75 - 0.5 * y / radius + 0.3 * scene.lamp * ball.u, 0.2, 1.3)
    paint(scene, ball, colour * light[..., None])
