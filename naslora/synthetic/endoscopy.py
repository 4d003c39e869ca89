"""Drawn colonoscopy images with polyps, in the looks of Kvasir-SEG and CVC-ClinicDB."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from naslora.synthetic.fields import Field, Labels
from naslora.synthetic.noise import fractal_noise, smooth_noise
from naslora.synthetic.painting import normals, photograph
from naslora.synthetic.shapes import blob_distance

_Range = tuple[float, float]


@dataclass(frozen=True)
class Scope:
    """Properties of an endoscope's frames.

    Attributes:
        height: range of the height in pixels, upper end excluded.
        aspect: range of width divided by height.
        margin: range of the width of the black border, relative to the shorter side.
        sides: ranges of what is added to the border on the left and on the right, likewise; None
            for nothing.
        corner: range of the legs of the cut corners, likewise.
        border: brightness of the border in [0, 1].
        inset: share of the frames with the position finder's picture.
    """

    height: tuple[int, int]
    aspect: _Range
    margin: _Range
    sides: tuple[_Range, _Range] | None
    corner: _Range
    border: float
    inset: float


KVASIR = Scope(
    height=(130, 250),
    aspect=(1.0, 1.3),
    margin=(0, 0.05),
    sides=None,
    corner=(0.05, 0.3),
    border=0.02,
    inset=0.25,
)
# The official frames have 384 x 288 pixels and come from a few recordings with the same border.
CLINIC = Scope(
    height=(180, 181),
    aspect=(4 / 3, 4 / 3),
    margin=(0.035, 0.05),
    sides=((0.06, 0.12), (0.02, 0.1)),
    corner=(0.09, 0.15),
    border=0.045,
    inset=0,
)


def draw_polyps(rng: np.random.Generator, scope: Scope) -> tuple[NDArray[np.uint8], Labels]:
    """Draw an image and the mask of its polyps.

    One or two domes rise from a folded, wet wall that is lit from the camera. Polyps differ in
    size, height and colour from plain to barely visible; folds, highlights and stains are there as
    distractors.

    Returns:
        Image uint8 (H, W, 3) and labels uint8 (H, W), 1 on a polyp.
    """
    height_px = int(rng.integers(*scope.height))
    shape = (height_px, round(height_px * rng.uniform(*scope.aspect)))
    side = min(shape)
    lumen, relief = _wall(rng, shape)
    labels, domes, tint = _polyps(rng, shape)
    raised = np.clip(domes / (0.05 * side), 0, 1).astype(np.float32)
    lumen *= 1 - 0.7 * raised
    relief *= 1 - 0.8 * raised
    relief += domes + rng.uniform(0.001, 0.006) * side * fractal_noise(rng, shape, side / 10, 3)

    colour = _mucosa(rng, shape) * (1 + tint)
    light, shine = _light(rng, shape, relief, lumen)
    white = np.array([1, 0.97, 0.93], np.float32)
    image = colour * light[..., None] + shine[..., None] * white
    view = _frame(rng, shape, scope)
    labels[view < 0.5] = 0
    image *= view[..., None]
    pixels = photograph(rng, image, rng.uniform(0.3, 0.9), 0.008)
    if rng.random() < scope.inset:
        _inset(rng, pixels, labels)
    return pixels, labels


def _wall(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Field, Field]:
    """Darkness of the lumen in [0, 1], and the relief of the folds around it in pixels."""
    side = min(shape)
    centre = (rng.uniform(0, shape[0]), rng.uniform(0, shape[1]))
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    distance = np.hypot(y - centre[0], x - centre[1]) / side
    bent = distance + 0.08 * smooth_noise(rng, shape, side / 2)
    lumen = np.exp(-((bent / rng.uniform(0.15, 0.4)) ** 2)) * rng.uniform(0.3, 0.95)
    phase = 2 * np.pi * bent / rng.uniform(0.22, 0.5) + rng.uniform(0, 2 * np.pi)
    ridge = (0.5 + 0.5 * np.cos(phase)) ** 3
    folds = ridge * np.clip(smooth_noise(rng, shape, side / 2) + 0.6, 0, 2)
    relief = side * (rng.uniform(0.01, 0.05) * folds + 0.03 * smooth_noise(rng, shape, side / 2))
    return np.asarray(lumen, np.float32), np.asarray(relief, np.float32)


def _polyps(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Labels, Field, Field]:
    """Labels, relief in pixels (H, W), and relative change of colour (H, W, 3)."""
    side = min(shape)
    labels = np.zeros(shape, np.uint8)
    relief = np.zeros(shape, np.float32)
    tint = np.zeros((*shape, 3), np.float32)
    for _ in range(1 + (rng.random() < 0.15)):
        radius = side * np.exp(rng.uniform(np.log(0.11), np.log(0.33)))
        centre = (
            rng.uniform(0.15, 0.85) * shape[0],
            rng.uniform(0.15, 0.85) * shape[1],
        )
        distance = blob_distance(rng, shape, centre, radius, rng.uniform(1, 1.6), 0.16)
        inside = distance < 1
        flat = rng.beta(1.3, 3.5)
        profile = np.clip(1 - distance**2, 0, 1) ** rng.uniform(0.6, 1.1)
        dome = scipy.ndimage.gaussian_filter(profile, 0.06 * radius) * radius * (0.6 - 0.5 * flat)
        relief = np.maximum(relief, dome)
        soft = 1 / (1 + np.exp((distance - 1) * radius / rng.uniform(1, 3)))
        strength = rng.uniform(1.3, 2.0) * (1 - 0.4 * flat)
        shift = np.array([0.08, -0.16, -0.1]) if rng.random() < 0.6 else np.array([0.1, 0.22, 0.2])
        mottle = 1 + 0.35 * fractal_noise(rng, shape, radius / 3, 3)
        tint += (soft * mottle * strength)[..., None] * shift.astype(np.float32)
        rim = np.exp(-(((distance - 1.06) * radius / (0.02 * side + 1)) ** 2))
        tint -= (rim * rng.uniform(0, 0.2) * (1 - flat))[..., None]
        labels[inside] = 1
    return labels, relief, tint


def _mucosa(rng: np.random.Generator, shape: tuple[int, int]) -> Field:
    """Colour (H, W, 3) of the wall in even light: pink to orange, with blotches and vessels."""
    side = min(shape)
    base = np.array(
        [rng.uniform(0.66, 0.9), rng.uniform(0.34, 0.52), rng.uniform(0.24, 0.42)], np.float32
    )
    blotches = fractal_noise(rng, shape, side / 2.5, 4)[..., None]
    colour = base * (1 + blotches * np.array([0.05, 0.11, 0.1], np.float32))
    grain = fractal_noise(rng, shape, 6, 3)[..., None]
    colour = colour * (1 + 0.035 * grain)
    courses = fractal_noise(rng, shape, side / 3, 3)
    vessels = np.exp(-((courses / 0.06) ** 2)) * np.clip(smooth_noise(rng, shape, side / 3), 0, 1)
    colour = colour * (
        1 - vessels[..., None] * rng.uniform(0, 0.5) * np.array([0.4, 0.8, 0.7], np.float32)
    )
    stains = np.clip(smooth_noise(rng, shape, side / 5) - rng.uniform(1.3, 2.6), 0, 1)[..., None]
    colour = colour * (1 - stains) + stains * np.array([0.75, 0.6, 0.25], np.float32)
    return np.asarray(colour, np.float32)


def _light(
    rng: np.random.Generator, shape: tuple[int, int], relief: Field, lumen: Field
) -> tuple[Field, Field]:
    """Diffuse light and highlights of a lamp near the camera."""
    side = min(shape)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    lamp = (rng.uniform(0.3, 0.7) * shape[0], rng.uniform(0.3, 0.7) * shape[1])
    to_y, to_x = (lamp[0] - y) / side, (lamp[1] - x) / side
    to_z = rng.uniform(0.6, 1.1)
    length = np.sqrt(to_x**2 + to_y**2 + to_z**2)
    nx, ny, nz = normals(scipy.ndimage.gaussian_filter(relief, 0.7))
    cosine = np.clip((nx * to_x + ny * to_y + nz * to_z) / length, 0, 1)
    falloff = (to_z / length) ** rng.uniform(0.8, 2.0)
    diffuse = rng.uniform(0.95, 1.3) * (0.15 + 0.95 * cosine * falloff) * (1 - lumen)
    # Half way between lamp and camera, roughened by the wet film.
    half = np.clip((nx * to_x + ny * to_y + nz * (to_z + length)) / length, 0, None)
    half /= np.sqrt(2 + 2 * to_z / length)
    film = 0.985 + 0.012 * fractal_noise(rng, shape, side / 14, 3)
    shine = np.clip((half * film - rng.uniform(0.984, 0.995)) / 0.006, 0, 1)
    return diffuse, np.asarray(shine * falloff * (1 - lumen) * rng.uniform(0.4, 0.9), np.float32)


def _frame(rng: np.random.Generator, shape: tuple[int, int], scope: Scope) -> Field:
    """1 inside the endoscope's view; as dark as the border outside, with cut corners."""
    side = min(shape)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    margin = rng.uniform(*scope.margin) * side
    corner = rng.uniform(*scope.corner) * side
    left = right = margin
    if scope.sides is not None:
        left, right = (margin + rng.uniform(*more) * side for more in scope.sides)
    from_sides = np.minimum(x - left, shape[1] - 1 - x - right)
    from_ends = np.minimum(y, shape[0] - 1 - y) - margin
    cut = (from_sides + from_ends - corner) / np.sqrt(2)
    inside = np.clip(np.minimum.reduce([from_sides, from_ends, cut]) / 2 + 0.5, 0, 1)
    return np.asarray(scope.border + (1 - scope.border) * inside, np.float32)


def _inset(rng: np.random.Generator, pixels: NDArray[np.uint8], labels: Labels) -> None:
    """Put the position finder's green picture in the lower left corner, where no polyp is."""
    height, width = (round(side * rng.uniform(0.2, 0.3)) for side in labels.shape)
    if labels[-height:, :width].any():
        return
    pixels[-height:, :width] = (10, 60, 30)
    rows, columns = np.mgrid[:height, :width]
    course = height * (0.5 + 0.3 * np.sin(columns / width * rng.uniform(3, 8)))
    pixels[-height:, :width][np.abs(rows - course) < 1.2] = (90, 200, 120)
