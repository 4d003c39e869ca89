"""Transparent things that are not vessels: eyeglasses and storage boxes.

Each function draws one that stands at a row and is of about `size` pixels.
"""

from __future__ import annotations

import numpy as np

from naslora.synthetic.glass.surfaces import (
    Scene,
    body,
    glow,
    inside,
    label,
    lumps,
    paint,
    panel,
    refract_down,
    shadow,
    streak,
    tint,
    within,
)
from naslora.synthetic.glass.vessels import CONTENTS


def draw_eyeglass(scene: Scene, class_: int, centre: float, bottom: float, size: float) -> None:
    """A pair of spectacles lying on the table: two dark-rimmed lenses, bridge and temples."""
    rng = scene.rng
    wide, high = 0.3 * size, 0.24 * size * rng.uniform(0.85, 1.15)
    frame = np.array(((0.06, 0.06, 0.08), (0.3, 0.14, 0.07), (0.5, 0.42, 0.22)), np.float32)
    colour = frame[rng.integers(len(frame))]
    middle = bottom - high
    shadow(scene, centre, bottom + 0.1 * high, 1.6 * wide, 0.3, 0.15)
    thick = max(0.1 * high, 1.6)
    for side in (-1, 1):
        hinge = centre + side * 2.12 * wide
        reach = 0.9 * wide
        ends = (hinge, hinge - side * 0.35 * reach)
        rise = reach * 0.75
        temple = panel(
            scene,
            min(ends),
            max(ends),
            (middle - rise, middle - thick) if side > 0 else (middle - thick, middle - rise),
            (middle - rise + thick, middle + thick)
            if side > 0
            else (middle + thick, middle - rise + thick),
        )
        paint(scene, temple, colour)
    bridge = panel(
        scene,
        centre - 0.16 * wide,
        centre + 0.16 * wide,
        (middle - 0.3 * high - thick,) * 2,
        (middle - 0.3 * high + 0.6 * thick,) * 2,
    )
    paint(scene, bridge, colour)
    shaded = rng.random() < 0.3
    for side in (-1, 1):
        at = centre + side * 1.12 * wide
        lens = body(scene, at, middle, middle + 1, [(0, wide), (1, wide)], (high, high))
        label(scene, lens, class_)
        refract_down(scene, lens, 0.35 * high * np.sin(2.2 * lens.u))
        tint(scene, lens, (0.3, 0.32, 0.36) if shaded else (0.8, 0.86, 0.93))
        inner = body(
            scene,
            at,
            middle,
            middle + 1,
            [(0, wide - thick), (1, wide - thick)],
            (high - thick, high - thick),
        )
        ring = lens.cover.copy()
        ring[inside(lens, inner)] -= inner.cover
        paint(scene, lens, colour, ring)
        streak(scene, inner, scene.lamp * 0.4, 0.1, (-9, 9), 0.45)


def draw_box(scene: Scene, class_: int, centre: float, bottom: float, size: float) -> None:
    """A storage box of milky plastic: a ribbed front, a side, and a coloured lid with clips."""
    rng = scene.rng
    wide, high = 1.15 * size, 0.6 * size * rng.uniform(0.85, 1.15)
    side = wide * rng.uniform(0.18, 0.3)
    left, right = centre - wide / 2, centre + wide / 2
    back = 0.14 * high
    shadow(scene, centre, bottom, 0.5 * wide)
    front = panel(scene, left, right - side, (bottom - high,) * 2, (bottom,) * 2)
    flank = panel(
        scene, right - side, right, (bottom - high, bottom - high + back), (bottom, bottom - back)
    )
    stuff = np.array(CONTENTS[rng.integers(len(CONTENTS))], np.float32)
    for face, milk in ((front, 0.42), (flank, 0.55)):
        label(scene, face, class_)
        grains = lumps(scene, face, 0.22 * high)
        filled = within(face, (-1, 2), (0.3, 2))
        paint(scene, filled, stuff * (0.5 + 0.8 * grains[..., None]), 0.55)
        paint(scene, face, (0.86, 0.9, 0.95), milk)
        edge = np.minimum(np.minimum(face.u, 1 - face.u) * 2 * face.half, (1 - face.v) * high)
        glow(scene, face, np.asarray(0.25 * np.exp(-edge / 1.5), np.float32))
        ribs = np.cos(face.u * face.half * 2 / max(0.1 * size, 4) * 2 * np.pi)
        glow(scene, face, np.asarray(0.06 * ribs, np.float32))
    lid_high = max(0.16 * high, 3)
    top = bottom - high - 0.3 * lid_high
    colour = np.array(((0.2, 0.4, 0.75), (0.85, 0.88, 0.9), (0.3, 0.6, 0.5)), np.float32)
    shade = colour[rng.integers(len(colour))]
    lid = panel(scene, left - 2, right - side + 1, (top,) * 2, (top + lid_high,) * 2)
    lid_side = panel(
        scene, right - side, right + 2, (top, top + back), (top + lid_high, top + lid_high + back)
    )
    for face, light in ((lid, 1.0), (lid_side, 0.75)):
        label(scene, face, class_)
        paint(scene, face, shade * light * (1.1 - 0.3 * face.v)[..., None], 0.92)
    for at in (0.25, 0.75):
        clip = within(front, (at - 0.06, at + 0.06), (0, 0.25))
        paint(scene, clip, shade * 0.8)
    streak(scene, front, rng.uniform(0.1, 0.4), 0.05, (0.2, 0.95), 0.25)
