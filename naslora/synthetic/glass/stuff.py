"""Transparent stuff in a room's wall: windows, doors, glass walls, freezers, shelves.

Each function draws one piece of a class between two columns of the scene.
"""

from __future__ import annotations

import numpy as np

from naslora.synthetic.fields import Field
from naslora.synthetic.glass.surfaces import (
    Scene,
    Surface,
    glow,
    label,
    mirror,
    paint,
    panel,
    streak,
    tint,
    within,
)
from naslora.synthetic.noise import smooth_noise

_GOODS = np.array(
    [
        (0.8, 0.2, 0.15),
        (0.95, 0.75, 0.2),
        (0.2, 0.45, 0.75),
        (0.3, 0.6, 0.3),
        (0.85, 0.85, 0.8),
        (0.55, 0.3, 0.5),
    ],
    np.float32,
)


def draw_window(scene: Scene, class_: int, left: float, right: float) -> None:
    """A window with a white frame and bars; behind it sky, trees and roofs in daylight."""
    rng = scene.rng
    top = scene.horizon * rng.uniform(0.06, 0.2)
    bottom = scene.horizon * rng.uniform(0.7, 0.86)
    slant = rng.uniform(-0.05, 0.05) * (right - left)
    margin = max(0.05 * (right - left), 2.5)
    frame = panel(
        scene,
        left - margin,
        right + margin,
        (top - margin - slant, top - margin + slant),
        (bottom + 1.4 * margin + slant, bottom + 1.4 * margin - slant),
    )
    wood = np.array(((0.9, 0.9, 0.88), (0.45, 0.3, 0.18)), np.float32)[int(rng.random() < 0.3)]
    paint(scene, frame, wood * (1.05 - 0.2 * frame.v)[..., None])
    pane = panel(scene, left, right, (top - slant, top + slant), (bottom + slant, bottom - slant))
    label(scene, pane, class_)
    _paint_view(scene, pane, ground=rng.uniform(0.6, 0.85), bright=1.15)
    mirror(scene, pane, 0.7)
    bars = int(rng.integers(1, 3))
    for bar in range(1, bars + 1):
        _bar_down(scene, pane, bar / (bars + 1), 1.5, wood)
    if rng.random() < 0.6:
        _bar_across(scene, pane, rng.uniform(0.3, 0.5), 1.5, wood)


def draw_door(scene: Scene, class_: int, left: float, right: float) -> None:
    """A glass door down to the floor: a dark metal frame, a long handle, a corridor behind."""
    rng = scene.rng
    top, bottom = scene.horizon * rng.uniform(0.02, 0.1), scene.horizon * 1.02
    slant = rng.uniform(-0.04, 0.04) * (right - left)
    margin = max(0.05 * (right - left), 2.5)
    frame = panel(
        scene,
        left - margin,
        right + margin,
        (top - margin - slant, top - margin + slant),
        (bottom, bottom),
    )
    metal = np.array(((0.16, 0.17, 0.19), (0.6, 0.62, 0.64)), np.float32)[int(rng.random() < 0.35)]
    paint(scene, frame, metal * (1.1 - 0.3 * frame.v)[..., None])
    pane = panel(scene, left, right, (top - slant, top + slant), (bottom, bottom))
    label(scene, pane, class_)
    _paint_corridor(scene, pane)
    tint(scene, pane, (0.62, 0.8, 0.74))
    mirror(scene, pane, 1.0)
    double = rng.random() < 0.5
    if double:
        _bar_down(scene, pane, 0.5, 1.2, metal)
    at = (0.43, 0.57) if double else ((0.12,) if rng.random() < 0.5 else (0.88,))
    reach = max(1.4 / float(pane.half[0, 0]) / 2, 0.018)
    for u in at:
        handle = within(pane, (u - reach, u + reach), (0.42, 0.72))
        paint(scene, handle, (0.85, 0.86, 0.88), 0.95)
        dark = within(pane, (u + reach, u + 2 * reach), (0.42, 0.72))
        tint(scene, dark, (0.4, 0.4, 0.4))


def draw_floor_glass(scene: Scene, class_: int, left: float, right: float) -> None:
    """A glass wall from floor to ceiling: wide panes, thin joints, a band of stickers."""
    rng = scene.rng
    bottom = scene.horizon * 1.01
    pane = panel(scene, left, right, (-1, -1), (bottom, bottom))
    label(scene, pane, class_)
    if rng.random() < 0.5:
        _paint_view(scene, pane, ground=rng.uniform(0.55, 0.75), bright=0.95)
    tint(scene, pane, (0.66, 0.84, 0.86))
    mirror(scene, pane, 1.5)
    panes = max(round((right - left) / (0.3 * scene.width)), 1)
    for joint in range(1, panes):
        _bar_down(scene, pane, joint / panes, 0.7, np.array((0.2, 0.24, 0.25), np.float32))
    row = rng.uniform(0.5, 0.62)
    wide = 2 * float(pane.half[0, 0])
    dots = np.cos(pane.u * wide / max(0.035 * scene.width, 4) * 2 * np.pi) > 0.2
    band = within(pane, (-1, 2), (row, row + 0.045))
    paint(scene, band, (0.92, 0.95, 0.95), 0.75 * dots)
    for v in (0.012, 0.988):
        _bar_across(scene, pane, v, 1.4, np.array((0.55, 0.58, 0.6), np.float32))


def draw_freezer(scene: Scene, class_: int, left: float, right: float) -> None:
    """A shop's freezer: a white case, cold light, rows of packets, frost at the panes' edges."""
    rng = scene.rng
    top, bottom = scene.horizon * rng.uniform(0.1, 0.22), scene.horizon * 1.02
    margin = max(0.07 * (right - left), 3.5)
    case = panel(
        scene, left - margin, right + margin, (top - 2.4 * margin,) * 2, (bottom + margin,) * 2
    )
    paint(scene, case, (0.9, 0.92, 0.94))
    sign = within(case, (0.06, 0.94), (0, 0.09))
    paint(scene, sign, _GOODS[rng.integers(4)], 0.9)
    pane = panel(scene, left, right, (top,) * 2, (bottom - margin,) * 2)
    label(scene, pane, class_)
    paint(scene, pane, (0.78, 0.9, 1.0))
    _paint_goods(scene, pane, rows=int(rng.integers(4, 6)), full=0.95, tall=0.66, gap=0.08)
    paint(scene, pane, (0.8, 0.92, 1.0), 0.3)
    doors = 2 if right - left > 0.33 * scene.width else 1
    u = pane.u * doors % 1
    edge = np.minimum.reduce([u, 1 - u, pane.v, 1 - pane.v])
    paint(scene, pane, (0.93, 0.97, 1.0), 0.75 * np.exp(-edge / 0.07))
    for door in range(doors):
        if door:
            _bar_down(scene, pane, door / doors, 2.2, np.array((0.85, 0.87, 0.9), np.float32))
        streak(scene, pane, (door + 0.3) / doors, 0.03, (0.05, 0.9), 0.3)
        at = (door + 0.93) / doors
        handle = within(pane, (at - 0.015, at + 0.015), (0.35, 0.65))
        paint(scene, handle, (0.3, 0.32, 0.36))


def draw_shelf(scene: Scene, class_: int, left: float, right: float) -> None:
    """A cabinet of dark wood behind glass, warmly lit, with china and books on glass boards."""
    rng = scene.rng
    top, bottom = scene.horizon * rng.uniform(0.08, 0.2), scene.horizon * 1.0
    margin = max(0.07 * (right - left), 3)
    wood = np.array(((0.34, 0.2, 0.1), (0.24, 0.14, 0.09)), np.float32)[rng.integers(2)]
    case = panel(
        scene, left - margin, right + margin, (top - 1.5 * margin,) * 2, (bottom + margin,) * 2
    )
    grain = 0.85 + 0.2 * np.sin(case.u * 60 + 2 * np.sin(case.v * 9))
    paint(scene, case, wood * grain[..., None])
    pane = panel(scene, left, right, (top,) * 2, (bottom - margin,) * 2)
    label(scene, pane, class_)
    warm = np.array((0.72, 0.55, 0.34), np.float32)
    paint(scene, pane, warm * (1.1 - 0.7 * np.abs(pane.u - 0.5))[..., None])
    rows = int(rng.integers(3, 5))
    _paint_goods(scene, pane, rows=rows, full=0.7, tall=0.5, gap=0.3)
    for board in range(1, rows):
        _bar_across(scene, pane, board / rows, 0.9, np.array((0.6, 0.85, 0.72), np.float32))
    tint(scene, pane, (0.85, 0.9, 0.85))
    mirror(scene, pane, 0.8)
    if right - left > 0.25 * scene.width:
        _bar_down(scene, pane, 0.5, 1.6, wood)


def _paint_view(scene: Scene, pane: Surface, ground: float, bright: float) -> None:
    """Sky over a line of trees or roofs, over lawn or a street."""
    rng = scene.rng
    sky = np.array((0.62, 0.8, 0.98), np.float32)
    haze = np.array((0.93, 0.95, 0.97), np.float32)
    down = np.clip(pane.v / ground, 0, 1)[..., None]
    view = sky + (haze - sky) * down
    tops = _skyline(scene, pane)
    trees = pane.v > ground - 0.25 * tops
    leaves = 0.6 + 0.4 * smooth_noise(rng, pane.u.shape, 4)[..., None]
    tree = np.array(((0.2, 0.38, 0.16), (0.5, 0.42, 0.38)), np.float32)[int(rng.random() < 0.35)]
    view = np.where(trees[..., None], tree * np.clip(leaves, 0.3, 1.2), view)
    lawn = np.array(((0.4, 0.55, 0.25), (0.55, 0.55, 0.56)), np.float32)[rng.integers(2)]
    view = np.where((pane.v > ground)[..., None], lawn, view)
    paint(scene, pane, view * bright)


def _skyline(scene: Scene, pane: Surface) -> Field:
    """How high the trees or roofs reach at each u, in [0, 1]."""
    rng = scene.rng
    steps = int(rng.integers(4, 9))
    heights = rng.uniform(0.2, 1, steps + 2)
    place = np.clip(pane.u, 0, 1) * steps
    whole = place.astype(int)
    if rng.random() < 0.5:
        return np.asarray(heights[whole], np.float32)
    share = place - whole
    return np.asarray(heights[whole] * (1 - share) + heights[whole + 1] * share, np.float32)


def _paint_corridor(scene: Scene, pane: Surface) -> None:
    """A dim corridor that recedes to a bright end."""
    rng = scene.rng
    across, down = np.abs(pane.u - rng.uniform(0.4, 0.6)), np.abs(pane.v - 0.45)
    depth = np.maximum(across / 0.5, down / 0.5)
    wall = np.array(rng.uniform(0.35, 0.6, 3), np.float32)
    colour = wall * (0.55 + 0.45 * depth)[..., None]
    floor = (down / 0.5 > across / 0.5) & (pane.v > 0.45)
    colour = np.where(floor[..., None], colour * 0.6, colour)
    lamps = (down / 0.5 > across / 0.5) & (pane.v < 0.45) & (across < 0.06 + 0.04 * depth)
    colour = np.where((lamps & (np.sin(9 / (depth + 0.08)) > 0))[..., None], 0.95, colour)
    end = np.array((0.85, 0.86, 0.8), np.float32)
    paint(scene, pane, np.where((depth < 0.22)[..., None], end, colour))


def _paint_goods(
    scene: Scene, pane: Surface, rows: int, full: float, tall: float, gap: float
) -> None:
    """Rows of packets: how many places are `full`, how `tall` they are, and the `gap` between."""
    rng = scene.rng
    wide = 2 * float(pane.half[0, 0])
    columns = max(int(wide / max(0.05 * scene.width, 5)), 2)
    row = np.clip((pane.v * rows).astype(int), 0, rows - 1)
    column = np.clip((pane.u * columns).astype(int), 0, columns - 1)
    here = (rng.random((rows, columns)) < full)[row, column]
    heights = (tall * rng.uniform(0.6, 1.2, (rows, columns)))[row, column]
    colours = _GOODS[rng.integers(len(_GOODS), size=(rows, columns))][row, column]
    v, u = pane.v * rows - row, pane.u * columns - column
    packet = here & (v > 0.92 - heights) & (v < 0.92) & (np.abs(u - 0.5) < 0.5 - gap / 2)
    shade = 1.05 - 0.9 * (u - 0.4) ** 2 - 0.2 * (v > 0.7)
    paint(scene, pane, colours * shade[..., None], packet)
    under = np.clip((v - 0.92) / 0.08, 0, 1)
    tint(scene, pane, (0.55, 0.55, 0.58), under)


def _bar_down(scene: Scene, pane: Surface, u: float, pixels: float, colour: Field) -> None:
    reach = pixels / (2 * float(pane.half[0, 0]))
    bar = within(pane, (u - reach, u + reach), (0, 1))
    paint(scene, bar, colour)
    glow(scene, bar, np.asarray(0.12 * (bar.u < u), np.float32))


def _bar_across(scene: Scene, pane: Surface, v: float, pixels: float, colour: Field) -> None:
    reach = pixels / max(pane.u.shape[0], 1)
    paint(scene, within(pane, (0, 1), (v - reach, v + reach)), colour)
