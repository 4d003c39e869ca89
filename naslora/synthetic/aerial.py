"""Drawn aerial images with roads, in the look of Massachusetts Roads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from naslora.synthetic.fields import Field, Labels
from naslora.synthetic.noise import fractal_noise, smooth_noise
from naslora.synthetic.painting import blend, photograph
from naslora.synthetic.road_network import Points, Road, draw_network

_SIDES = (64, 85)
_FINE = 3  # lines are drawn this many times as large, and then reduced
_WHITE_SHARE = 0.2  # of the images, in which some imagery is missing


def draw_roads(rng: np.random.Generator) -> tuple[NDArray[np.uint8], Labels]:
    """Draw a square image and the mask of its roads.

    Woods, meadows and water with a network of roads, houses along them, and trees that hide parts
    of them. Roofs, drives, car parks and tracks are as light as roads, but are not labelled. As in
    the data set, labels are strokes along the centre lines; one image in five has a white part
    where imagery is missing, and labels continue there.

    Returns:
        Image uint8 (S, S, 3) and labels uint8 (S, S), 1 on a road; S of 64 to 84 pixels.
    """
    side = int(rng.integers(*_SIDES))
    shape = (side, side)
    roads = draw_network(rng, side)
    labels = _strokes(shape, roads)
    away = scipy.ndimage.distance_transform_edt(labels == 0).astype(np.float32)
    image, wooded = _land(rng, shape, away)
    image = _built(rng, image, roads, away)
    image = _trees(rng, image, wooded, away)
    pixels = photograph(rng, image, blur=rng.uniform(0.3, 0.6), noise=0.02)
    if rng.random() < _WHITE_SHARE:
        pixels[_missing(rng, shape)] = 255
    return pixels, labels


def _strokes(shape: tuple[int, int], roads: Sequence[Road]) -> Labels:
    """Labels (H, W): strokes a little wider than the roads."""
    large = Image.new("L", (shape[1] * _FINE, shape[0] * _FINE))
    pen = ImageDraw.Draw(large)
    for road in roads:
        _line(pen, road.points, road.width + 1, 255)
    small = large.resize(shape[::-1], Image.Resampling.BOX)
    return (np.asarray(small) > 127).astype(np.uint8)


def _line(
    pen: ImageDraw.ImageDraw, points: Points, width: float, fill: int | tuple[int, ...]
) -> None:
    """Draw a line with round ends on a canvas `_FINE` times as large."""
    places = [tuple(p) for p in (points + 0.5) * _FINE]
    pen.line(places, fill=fill, width=max(1, round(width * _FINE)), joint="curve")
    r = width * _FINE / 2
    for x, y in (places[0], places[-1]):
        pen.ellipse((x - r, y - r, x + r, y + r), fill=fill)


def _land(rng: np.random.Generator, shape: tuple[int, int], away: Field) -> tuple[Field, Field]:
    """Colour (H, W, 3) of the ground in spring, and how wooded (H, W) it is in [0, 1]."""
    side = shape[0]
    grain = fractal_noise(rng, shape, 4, 2)
    bare = np.array([0.36, 0.31, 0.26], np.float32) * (1 + rng.normal(0, 0.04, 3))
    colour = np.asarray(bare * (1 + 0.4 * grain)[..., None], np.float32)
    pines = fractal_noise(rng, shape, side / 5, 4) - rng.uniform(-0.2, 1.2)
    speckle = np.clip(fractal_noise(rng, shape, 6, 2) + 2 * pines, 0, 1)
    colour = blend(colour, 0.85 * speckle, np.array([0.09, 0.14, 0.07], np.float32))
    open_ = fractal_noise(rng, shape, side / 3, 3) - rng.uniform(0.3, 1.6)
    tended = np.clip(
        1.3 - away / rng.uniform(12, 26) + 0.35 * fractal_noise(rng, shape, 18, 2), 0, 1
    )
    clear = np.maximum(np.clip(4 * open_, 0, 1), tended if rng.random() < 0.85 else 0)
    meadow = np.array([[0.42, 0.47, 0.3], [0.6, 0.55, 0.42], [0.3, 0.4, 0.22]])[rng.integers(3)]
    dry = np.clip(0.5 + 0.5 * fractal_noise(rng, shape, side / 8, 3), 0, 1)[..., None]
    grass = meadow * (1 - 0.5 * dry) + 0.5 * dry * np.array([0.5, 0.46, 0.36])
    grass = grass * (1 + 0.16 * fractal_noise(rng, shape, 5, 2))[..., None]
    colour = blend(colour, clear, np.asarray(grass, np.float32))
    bare_soil = 3 * (fractal_noise(rng, shape, side / 6, 4) - rng.uniform(1.0, 2.2))
    soil = np.array([0.72, 0.66, 0.56], np.float32) * rng.uniform(0.8, 1.15)
    colour = blend(colour, bare_soil * clear, soil * (1 + 0.08 * grain)[..., None])
    wooded = 1 - clear
    if rng.random() < 0.3:
        pond = np.minimum(
            3 * (smooth_noise(rng, shape, side / 2) - rng.uniform(0.6, 1.6)), away - 9
        )
        water = np.array([0.1, 0.15, 0.15], np.float32) * rng.uniform(0.6, 1.6)
        colour = blend(colour, pond, water * (1 + 0.05 * grain)[..., None])
        wooded = wooded * (pond < 0)
    return colour, np.asarray(wooded, np.float32)


def _built(rng: np.random.Generator, image: Field, roads: Sequence[Road], away: Field) -> Field:
    """Roads, houses with drives and shadows along them, and a large roof with its car park."""
    shape = away.shape
    canvas = Image.fromarray((np.clip(image, 0, 1) * 255).astype(np.uint8))
    canvas = canvas.resize((shape[1] * _FINE, shape[0] * _FINE), Image.Resampling.BILINEAR)
    pen = ImageDraw.Draw(canvas)
    sun = rng.uniform(0, 2 * np.pi)
    cast = 2.2 * np.array([np.cos(sun), np.sin(sun)])
    houses = _houses(rng, roads, away)
    for front, middle, half in houses:
        if rng.random() < 0.6:
            tone = rng.uniform(0.45, 0.66) * np.array([1, 0.98, 0.95])
            _line(pen, np.stack([front, middle + 1.3 * half[0]]), 1.2, _rgb(tone))
    if rng.random() < 0.4:
        _hall(rng, pen, away, cast)
    for road in roads:
        _line(pen, road.points, road.width, _rgb(road.lit * np.array([1.0, 0.99, 0.97])))
    for road in roads:
        if road.width > 4.2:
            paint = road.lit * rng.uniform(1.05, 1.35) * np.array([1.0, 0.97, 0.85])
            _line(pen, road.points, 0.4, _rgb(paint))
    for _, middle, half in houses:
        _roof(rng, pen, middle, half, cast)
    small = canvas.resize(shape[::-1], Image.Resampling.BOX)
    worn = 1 + 0.07 * fractal_noise(rng, shape, 12, 3)
    return np.asarray(np.asarray(small, np.float32) / 255 * worn[..., None], np.float32)


Vector = NDArray[np.float64]
House = tuple[Vector, Vector, tuple[Vector, Vector]]  # front, middle, and half its two sides


def _houses(rng: np.random.Generator, roads: Sequence[Road], away: Field) -> list[House]:
    """Where houses stand beside the roads that have some, none on another road."""
    houses: list[House] = []
    spacing, depth = rng.uniform(9, 17), rng.uniform(8, 12)
    for road in (road for road in roads if road.houses):
        steps = np.hypot(*np.diff(road.points, axis=0).T)
        travelled = np.concatenate([[0], np.cumsum(steps)])
        for side in (-1, 1):
            place = rng.uniform(0, spacing)
            while place < travelled[-1]:
                index = int(np.searchsorted(travelled, place).clip(1, len(steps)))
                place += spacing * rng.uniform(0.8, 1.5)
                front = road.points[index]
                ahead = front - road.points[index - 1]
                ahead = ahead / (np.hypot(*ahead) + 1e-6)
                out = side * np.array([-ahead[1], ahead[0]])
                middle = front + depth * rng.uniform(0.9, 1.3) * out
                column, row = np.round(middle).astype(int)
                inside = 0 <= row < away.shape[0] and 0 <= column < away.shape[1]
                if inside and away[row, column] > 0.55 * depth and rng.random() < 0.8:
                    half = rng.uniform(1.8, 3.6) * ahead, rng.uniform(1.6, 2.6) * out
                    houses.append((front, middle, half))
    return houses


def _rgb(tone: Vector) -> tuple[int, ...]:
    return tuple(int(v) for v in np.clip(tone * 255, 0, 255))


def _polygon(pen: ImageDraw.ImageDraw, corners: Sequence[Vector], tone: Vector) -> None:
    pen.polygon([tuple((corner + 0.5) * _FINE) for corner in corners], fill=_rgb(tone))


def _box(middle: Vector, half: tuple[Vector, Vector]) -> list[Vector]:
    u, v = half
    return [middle - u - v, middle + u - v, middle + u + v, middle - u + v]


def _roof(
    rng: np.random.Generator,
    pen: ImageDraw.ImageDraw,
    middle: Vector,
    half: tuple[Vector, Vector],
    cast: Vector,
) -> None:
    """A gabled roof, one half lighter than the other, with its shadow."""
    _polygon(pen, [corner + cast for corner in _box(middle, half)], np.array([0.1, 0.11, 0.12]))
    tone = np.exp(rng.uniform(np.log(0.25), np.log(0.95))) * (1 + rng.normal(0, 0.05, 3))
    _polygon(pen, _box(middle, half), tone)
    across = half[1] if rng.random() < 0.7 else half[0]
    along = half[0] if across is half[1] else half[1]
    _polygon(pen, _box(middle - across / 2, (along, across / 2)), tone * rng.uniform(0.6, 0.85))


def _hall(rng: np.random.Generator, pen: ImageDraw.ImageDraw, away: Field, cast: Vector) -> None:
    """A school or shop among parked cars, where there is room."""
    room = np.minimum(away, 60)
    border = 25
    room[:border], room[-border:], room[:, :border], room[:, -border:] = 0, 0, 0, 0
    row, column = np.unravel_index(int(room.argmax()), room.shape)
    size = 0.55 * float(room[row, column])
    if size < 7:
        return
    angle = rng.uniform(0, np.pi)
    u = size * np.array([np.cos(angle), np.sin(angle)])
    v = size * rng.uniform(0.5, 0.9) * np.array([-np.sin(angle), np.cos(angle)])
    middle = np.array([column, row], float)
    _polygon(pen, _box(middle, (u, v)), np.full(3, rng.uniform(0.3, 0.45)))
    for place in np.arange(-0.9, 0.9, 3 / size):
        for line in (0.45, 0.7, 0.9):
            if rng.random() < 0.6:
                car = middle + place * u + line * v
                paint = rng.uniform(0.1, 0.95) * (1 + rng.normal(0, 0.15, 3))
                _polygon(pen, _box(car, (0.9 * u / size, 1.6 * v / np.hypot(*v))), paint)
    _roof(rng, pen, middle - 0.4 * v, (0.7 * u, 0.4 * v), cast)


def _trees(rng: np.random.Generator, image: Field, wooded: Field, away: Field) -> Field:
    """Crowns with shadows; some hang over roads and roofs."""
    shape = wooded.shape
    count = int(rng.uniform(0.3, 1.0) * 600)
    rows, columns = (rng.integers(0, side, count) for side in shape)
    keep = rng.random(count) < 0.25 + 0.75 * wooded[rows, columns]
    keep &= (away[rows, columns] > 3.5) | (rng.random(count) < 0.25)
    crown = Image.new("L", (shape[1] * 2, shape[0] * 2))
    shade = Image.new("L", crown.size)
    pens = ImageDraw.Draw(crown), ImageDraw.Draw(shade)
    for row, column in zip(rows[keep], columns[keep], strict=True):
        r = 2 * rng.uniform(1.3, 3.4)
        x, y = 2 * column, 2 * row
        pens[0].ellipse((x - r, y - r, x + r, y + r), fill=int(rng.integers(150, 255)))
        pens[1].ellipse((x - r + 3, y - r + 3, x + r + 3, y + r + 3), fill=200)
    masks = [
        np.asarray(m.resize(shape[::-1], Image.Resampling.BOX), np.float32) / 255
        for m in (shade, crown)
    ]
    ragged = np.clip(1 + 0.35 * fractal_noise(rng, shape, 3, 1), 0.2, 1.2)
    leaf = np.array([[0.17, 0.25, 0.13], [0.3, 0.27, 0.22]], np.float32)[rng.integers(2)]
    leafy = leaf * (1 + 0.3 * fractal_noise(rng, shape, 3, 1))[..., None]
    image = blend(image, 0.5 * masks[0], (0, 0, 0))
    return blend(image, 0.9 * masks[1] * ragged, np.asarray(leafy, np.float32))


def _missing(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Missing imagery: a strip along one or two sides, slightly rotated."""
    rows, columns = np.mgrid[: shape[0], : shape[1]] / shape[0] - 0.5
    angle = rng.integers(4) * np.pi / 2 + rng.normal(0, 0.05)
    edge = 0.5 - np.exp(rng.uniform(np.log(0.03), np.log(0.5)))
    gone = columns * np.cos(angle) + rows * np.sin(angle) > edge
    if rng.random() < 0.3:
        gone |= columns * np.sin(angle) - rows * np.cos(angle) > rng.uniform(0.1, 0.45)
    return np.asarray(gone, np.bool_)
