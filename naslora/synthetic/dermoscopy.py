"""Drawn dermoscopy images with one lesion each, in the look of ISIC 2017."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from naslora.synthetic.fields import Field, Labels
from naslora.synthetic.noise import fractal_noise, smooth_noise
from naslora.synthetic.painting import blend, photograph
from naslora.synthetic.shapes import blob_distance

_SHORT_SIDE = (140, 190)
_ASPECTS = (4 / 3, 4 / 3, 1.5)
_FINER = 3  # lines are drawn this many times as large, and then reduced
_Line = Sequence[tuple[float, float]]

_SKINS = np.array(
    [
        [0.88, 0.74, 0.68],  # pink
        [0.89, 0.80, 0.64],  # yellow
        [0.68, 0.59, 0.55],  # grey brown
        [0.80, 0.60, 0.54],  # tanned
        [0.76, 0.42, 0.38],  # red
        [0.71, 0.71, 0.86],  # in violet light
    ],
    np.float32,
)
_SKIN_SHARES = (0.37, 0.15, 0.24, 0.13, 0.04, 0.07)
_PIGMENTS = np.array(
    [
        [0.62, 0.42, 0.28],  # light brown
        [0.44, 0.26, 0.16],  # brown
        [0.20, 0.12, 0.10],  # nearly black
        [0.58, 0.27, 0.20],  # red brown
        [0.43, 0.41, 0.44],  # blue grey
    ],
    np.float32,
)
_PIGMENT_SHARES = (0.3, 0.32, 0.16, 0.14, 0.08)
_STICKERS = ((0.05, 0.42, 0.75), (0.95, 0.55, 0.2), (0.1, 0.55, 0.25), (0.9, 0.8, 0.2))


def draw_lesion(rng: np.random.Generator) -> tuple[NDArray[np.uint8], Labels]:
    """Draw an image and the mask of its lesion.

    Lesions differ in size, pigment, regularity and contrast. Some images show hair, rulers, ink,
    gel bubbles, stickers or the dark edge of the lens, as clinical ones do. As in the data set,
    some masks follow every notch of the border and some are a wide smooth line around it.

    Returns:
        Image uint8 (H, W, 3) and labels uint8 (H, W), 1 on the lesion; sides of 140 to 285 pixels.
    """
    height = int(rng.integers(*_SHORT_SIDE))
    shape = (height, round(height * rng.choice(_ASPECTS)))
    image = _skin(rng, shape)
    distance = _border(rng, shape)
    image = _pigmented(rng, image, distance)
    if rng.random() < 0.25:
        image = _ink(rng, image, distance)
    if rng.random() < 0.4:
        image = _ruler(rng, image)
    if rng.random() < 0.15:
        image = _bubbles(rng, image)
    if rng.random() < 0.08:
        image = _sticker(rng, image)
    image = _hair(rng, image)
    light = _lens(rng, shape)
    pixels = photograph(rng, image * light, rng.uniform(0.3, 0.8), rng.uniform(0.004, 0.012))
    return pixels, _annotated(rng, distance)


def _skin(rng: np.random.Generator, shape: tuple[int, int]) -> Field:
    side = min(shape)
    base = rng.choice(_SKINS, p=_SKIN_SHARES) + rng.normal(0, 0.02, 3)
    blotches = fractal_noise(rng, shape, side / 3, 4)[..., None]
    redness = np.array([0.015, 0.035, 0.03], np.float32) * rng.uniform(0.4, 1.6)
    image = base.astype(np.float32) * (1 + blotches * redness)
    creases = np.abs(fractal_noise(rng, shape, rng.uniform(5, 12), 2))
    image *= (1 + rng.uniform(0, 0.05) * (np.minimum(creases, 1) - 0.6))[..., None]
    freckles = np.clip(smooth_noise(rng, shape, side / 22) - rng.uniform(1.9, 3.2), 0, 0.5)
    image = blend(image, freckles, base * np.array([0.75, 0.6, 0.5]))
    courses = fractal_noise(rng, shape, side / 3, 3)
    vessels = np.exp(-((courses / 0.05) ** 2)) * np.clip(smooth_noise(rng, shape, side / 3), 0, 1)
    return blend(image, vessels * rng.uniform(0, 0.35), base * np.array([0.95, 0.6, 0.6]))


def _border(rng: np.random.Generator, shape: tuple[int, int]) -> Field:
    """Distance (H, W) from the lesion's centre in units of its radius, 1 on its ragged border."""
    side = min(shape)
    radius = side * np.exp(rng.uniform(np.log(0.1), np.log(0.46)))
    middle = np.clip(rng.normal(0.5, 0.09, 2), 0.25, 0.75) * shape
    centre = (float(middle[0]), float(middle[1]))
    wobble = rng.uniform(0.05, 0.3)
    distance = blob_distance(rng, shape, centre, radius, rng.uniform(1, 1.7), wobble)
    ragged = rng.uniform(0.02, 0.16)
    return np.asarray(distance + ragged * fractal_noise(rng, shape, radius / 2, 4), np.float32)


def _pigmented(rng: np.random.Generator, skin: Field, distance: Field) -> Field:
    """Colour the lesion: two pigments, a network of lines, dots, and pale or reddened areas."""
    shape = distance.shape
    side = min(shape)
    softness = rng.uniform(0.03, 0.14)
    cover = scipy.special.expit((1 - softness - distance) / softness) * rng.uniform(0.45, 0.98)
    first, second = rng.choice(_PIGMENTS, 2, p=_PIGMENT_SHARES)
    mixture = np.clip(0.5 + 0.8 * smooth_noise(rng, shape, side / 4), 0, 1)[..., None]
    if rng.random() < 0.5:  # one pigment, darker towards the middle
        second = first * 0.65
        mixture = np.clip(1.2 * distance, 0, 1)[..., None]
    colour = first * mixture + second * (1 - mixture)
    mottle = fractal_noise(rng, shape, side / 9, 4)
    colour = colour * (1 + rng.uniform(0.06, 0.22) * mottle)[..., None]
    lines = np.exp(-((smooth_noise(rng, shape, rng.uniform(3, 6)) / 0.35) ** 2))
    colour = colour * (1 - rng.uniform(0, 0.4) * lines)[..., None]
    dots = np.clip(2 * (smooth_noise(rng, shape, rng.uniform(3, 6)) - 1.6), 0, 1)
    colour = blend(colour, dots * rng.uniform(0, 0.7), (0.14, 0.09, 0.09))
    pale = np.clip(smooth_noise(rng, shape, side / 5) - rng.uniform(0.8, 2.5), 0, 1)
    halo = np.exp(-(((distance - 1.1) / 0.25) ** 2)) * rng.uniform(0, 0.3)
    reddened = blend(skin, halo, skin * np.array([0.98, 0.8, 0.78], np.float32))
    return blend(reddened, cover * (1 - 0.7 * pale), colour)


def _annotated(rng: np.random.Generator, distance: Field) -> Labels:
    """The lesion as an annotator outlines it, without holes and in one piece."""
    if rng.random() < 0.5:
        inside = distance < 1.02
    else:
        radius = np.sqrt((distance < 1).sum() / np.pi)
        smooth = scipy.ndimage.gaussian_filter(distance, 0.1 * radius)
        inside = smooth < rng.uniform(1.02, 1.18)
    pieces, count = scipy.ndimage.label(inside)
    if count > 1:
        inside = pieces == 1 + np.argmax(
            scipy.ndimage.sum_labels(inside, pieces, range(1, count + 1))
        )
    return np.asarray(scipy.ndimage.binary_fill_holes(inside), np.uint8)


def _strokes(shape: tuple[int, int], lines: Sequence[_Line], width: float) -> Field:
    """Cover (H, W) of lines through points (x, y), `width` pixels wide."""
    canvas = Image.new("L", (shape[1] * _FINER, shape[0] * _FINER))
    pen = ImageDraw.Draw(canvas)
    for line in lines:
        scaled = [(x * _FINER, y * _FINER) for x, y in line]
        pen.line(scaled, fill=255, width=max(round(width * _FINER), 1), joint="curve")
    return np.asarray(np.asarray(canvas.reduce(_FINER)) / 255, np.float32)


def _hair(rng: np.random.Generator, image: Field) -> Field:
    """None, a few, or many hairs: arcs of one colour, mostly along one direction."""
    shape = (image.shape[0], image.shape[1])
    few, many = int(rng.integers(1, 9)), int(rng.integers(15, 50))
    count = int(rng.choice([0, few, many], p=[0.5, 0.35, 0.15]))
    if not count:
        return image
    along = rng.uniform(0, np.pi)
    steps = np.linspace(0, 1, 12)
    lines: list[_Line] = []
    for _ in range(count):
        start = rng.uniform(-0.1, 1.1, 2) * shape[::-1]
        angle = along + rng.normal(0, 0.4) + np.pi * rng.integers(2)
        length = rng.uniform(0.2, 0.9) * min(shape)
        turned = angle + rng.normal(0, 0.9) * steps
        path = np.stack([np.cos(turned), np.sin(turned)]).cumsum(axis=1) * length / len(steps)
        lines.append([(float(x), float(y)) for x, y in (start[:, None] + path).T])
    cover = _strokes(shape, lines, rng.uniform(0.6, 1.6))
    colour = np.array([0.22, 0.15, 0.12]) * rng.uniform(0.5, 1.6)
    return blend(image, cover * rng.uniform(0.6, 0.95), colour)


def _ruler(rng: np.random.Generator, image: Field) -> Field:
    """A scale in the lower part: a line with ticks, every fifth longer, and "mm" at its end."""
    shape = (image.shape[0], image.shape[1])
    side = min(shape)
    angle = rng.normal(0, 0.25)
    across = np.array([np.cos(angle), np.sin(angle)])
    down = np.array([-across[1], across[0]])
    start = np.array([rng.uniform(0.1, 0.45) * shape[1], rng.uniform(0.78, 0.92) * shape[0]])
    length = rng.uniform(0.35, 0.6) * side

    def points(*steps: tuple[float, float]) -> _Line:
        """Points at (along, below) the line's start, in its length."""
        found = [start + length * (u * across + v * down) for u, v in steps]
        return [(float(x), float(y)) for x, y in found]

    lines = [points((0, 0), (1, 0))]
    lines += [points((i / 20, 0), (i / 20, 0.07 if i % 5 else 0.11)) for i in range(21)]
    for left in (-0.16, -0.09):
        zigzag = [(left, 0.03), (left, -0.03), (left + 0.025, 0.01), (left + 0.05, -0.03)]
        lines.append(points(*zigzag, (left + 0.05, 0.03)))
    cover = _strokes(shape, lines, 0.007 * side)
    return blend(image, cover * rng.uniform(0.6, 0.95), (0.16, 0.14, 0.14))


def _ink(rng: np.random.Generator, image: Field, distance: Field) -> Field:
    """Hatched marks of a violet pen around the lesion."""
    shape = (image.shape[0], image.shape[1])
    side = min(shape)
    lines: list[_Line] = []
    for _ in range(rng.integers(1, 5)):
        centre = rng.uniform(0.08, 0.92, 2) * shape[::-1]
        angle = rng.uniform(0, np.pi)
        way = np.array([np.cos(angle), np.sin(angle)]) * side * rng.uniform(0.03, 0.1)
        for _ in range(rng.integers(3, 9)):
            middle = centre + rng.normal(0, 0.02 * side, 2)
            ends = (middle - way, middle + way * rng.uniform(0.5, 1))
            lines.append([(float(x), float(y)) for x, y in ends])
    speckle = np.clip(0.5 + smooth_noise(rng, shape, 3), 0, 1)
    away = np.clip((distance - 1.3) * 4, 0, 1)
    cover = _strokes(shape, lines, 0.012 * side) * speckle * away
    return blend(image, cover * rng.uniform(0.3, 0.9), (0.34, 0.22, 0.55))


def _bubbles(rng: np.random.Generator, image: Field) -> Field:
    """Bubbles in the gel: bright rings with a glint."""
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    for _ in range(rng.integers(2, 12)):
        radius = min(height, width) * rng.uniform(0.01, 0.05)
        cy, cx = rng.uniform(0, height), rng.uniform(0, width)
        ring = np.exp(-(((np.hypot(y - cy, x - cx) - radius) / 1.0) ** 2))
        glint = np.exp(-((np.hypot(y - cy + radius / 2, x - cx + radius / 2) / 1.3) ** 2))
        image = blend(image, 0.35 * ring + 0.8 * glint, (0.97, 0.95, 0.94))
    return image


def _sticker(rng: np.random.Generator, image: Field) -> Field:
    """A coloured disc that reaches in from a side, as on images of children."""
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    radius = rng.uniform(0.2, 0.45) * height
    cx = -0.4 * radius if rng.random() < 0.5 else width + 0.4 * radius
    disc = np.clip(radius - np.hypot(y - rng.uniform(0.1, 0.9) * height, x - cx), 0, 1)
    colour = _STICKERS[rng.integers(len(_STICKERS))]
    return blend(image, disc, np.array(colour) * rng.uniform(0.8, 1.05))


def _lens(rng: np.random.Generator, shape: tuple[int, int]) -> Field:
    """Light (H, W, 1) that fades outwards; on some images beyond a round, dark edge."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    middle = rng.uniform(0.45, 0.55, 2) * shape
    half = 0.5 * np.hypot(*shape)
    out = np.hypot(y - middle[0], x - middle[1]) / half
    light = rng.uniform(0.9, 1.08) * (1 - rng.uniform(0, 0.35) * out**2)
    if rng.random() < 0.25:
        edge = rng.uniform(0.78, 0.98)
        light *= scipy.special.expit((edge - out) * half / rng.uniform(0.8, 4))
    return np.asarray(light + 0.03, np.float32)[..., None]
