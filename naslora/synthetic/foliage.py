"""Drawn leaves with disease, in the look of the Leaf Disease Segmentation set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from naslora.synthetic.fields import Field, Labels
from naslora.synthetic.noise import fractal_noise, smooth_noise
from naslora.synthetic.painting import blend, normals, photograph

_AREA = (26_000, 46_000)  # pixels
_ASPECTS = (0.56, 0.75, 1.0, 4 / 3, 1.5, 1.5)

# Of spots, blight, mildew, yellowing and scorched edges.
_DISEASE_SHARES = (0.38, 0.26, 0.12, 0.12, 0.12)

_NECROTIC = np.array(
    [[0.38, 0.26, 0.16], [0.52, 0.40, 0.27], [0.24, 0.18, 0.15], [0.50, 0.26, 0.20]], np.float32
)
_YELLOW = np.array([0.80, 0.72, 0.22], np.float32)
_POWDER = np.array([0.85, 0.87, 0.84], np.float32)
_SOIL = np.array([[0.34, 0.26, 0.2], [0.46, 0.34, 0.24], [0.42, 0.4, 0.38]], np.float32)
_BACKDROPS = np.array(
    [[0.94, 0.93, 0.9], [0.05, 0.05, 0.06], [0.2, 0.12, 0.28], [0.8, 0.76, 0.6]], np.float32
)


@dataclass(frozen=True)
class _Leaf:
    """A leaf in its own coordinates, fields (H, W).

    Attributes:
        along: 0 at the stalk, 1 at the tip.
        across: 0 on the midrib, 1 on the edge; below 0 to one side.
        inside: 1 on the blade, with a soft edge.
        veins: 1 on a vein.
    """

    along: Field
    across: Field
    inside: Field
    veins: Field


def draw_diseased_leaf(rng: np.random.Generator) -> tuple[NDArray[np.uint8], Labels]:
    """Draw an image and the mask of the diseased parts of its leaf.

    One leaf, whole or close up, before other foliage, soil or a plain backdrop. The diseases:
    scattered spots, blight in large patches, mildew, yellowing between veins, and scorched edges.
    As in the data set, a badly damaged leaf is now and then marked as a whole.

    Returns:
        Image uint8 (H, W, 3) and labels uint8 (H, W), 1 on diseased parts; sides of 120 to 290
        pixels.
    """
    aspect = rng.choice(_ASPECTS)
    height = np.sqrt(rng.uniform(*_AREA) / aspect)
    shape = (round(height), round(height * aspect))
    leaf = _leaf(rng, shape)
    blade = _blade(rng, leaf)
    diseases = (_spots, _blight, _mildew, _yellowing, _scorch)
    disease = rng.choice(len(diseases), p=_DISEASE_SHARES)
    blade, damage = diseases[disease](rng, blade, leaf)
    relief = 0.4 * fractal_noise(rng, shape, min(shape) / 8, 3) - 0.8 * leaf.veins - damage
    image = blend(_background(rng, shape), leaf.inside, blade * _light(rng, relief)[..., None])
    pixels = photograph(rng, image, rng.uniform(0.3, 0.7), rng.uniform(0.006, 0.018))
    return pixels, _annotated(rng, damage * (leaf.inside > 0.5), leaf.inside)


def _leaf(rng: np.random.Generator, shape: tuple[int, int]) -> _Leaf:
    """A bent blade with a serrated or lobed edge and side veins."""
    side = min(shape)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    long_way = 0.0 if shape[1] > shape[0] else np.pi / 2
    turn = long_way + rng.normal(0, 0.35) + np.pi * rng.integers(2)
    close_up = rng.random() < 0.25
    length = rng.uniform(1.3, 2.2) * side if close_up else rng.uniform(0.75, 1.0) * max(shape)
    middle = (0.5 + rng.normal(0, 0.04, 2)) * shape
    dx, dy = x - middle[1], y - middle[0]
    along = (dx * np.cos(turn) + dy * np.sin(turn)) / length + 0.5
    sideways = (-dx * np.sin(turn) + dy * np.cos(turn)) / length
    sideways = sideways - rng.normal(0, 0.2) * (along - 0.5) ** 2
    u = np.clip(along, 1e-3, 1 - 1e-3)
    blunt, pointed = rng.uniform(0.35, 0.7), rng.uniform(0.6, 1.1)
    profile = u**blunt * (1 - u) ** pointed
    half = profile / profile.max() * rng.uniform(0.18, 0.36)
    if not close_up:
        half = np.minimum(half, 0.5 * side / length)
    lobed = rng.random() < 0.35
    teeth, depth = (
        (rng.integers(3, 6), rng.uniform(0.15, 0.4))
        if lobed
        else (rng.integers(9, 22), rng.uniform(0, 0.1))
    )
    half = half * (1 - depth * (0.5 + 0.5 * np.cos(2 * np.pi * teeth * (u - 0.3 * sideways))))
    half = half * (1 + 0.05 * smooth_noise(rng, shape, side / 6))
    across = sideways / np.maximum(half, 1e-3)
    edge = (half - np.abs(sideways)) * length
    inside = np.clip(edge + 0.5, 0, 1) * ((along > 0) & (along < 1))

    pixel = 1 / length
    midrib = np.exp(-((sideways / (rng.uniform(1, 2.2) * pixel * (1.3 - u))) ** 2))
    spacing, slope = rng.uniform(0.07, 0.14), rng.uniform(0.5, 1.0)
    phase = (u - slope * np.abs(sideways)) / spacing + 0.5 * (sideways > 0)
    off = np.abs(phase - np.round(phase)) * spacing / pixel
    veins = np.maximum(midrib, 0.6 * np.exp(-((off / 1.1) ** 2)))
    return _Leaf(*(np.asarray(field, np.float32) for field in (u, across, inside, veins)))


def _blade(rng: np.random.Generator, leaf: _Leaf) -> Field:
    """Colour (H, W, 3) of a healthy leaf."""
    shape = leaf.inside.shape
    green = np.array([0.30, 0.47, 0.20]) + rng.normal(0, 1, 3) * (0.07, 0.06, 0.06)
    if rng.random() < 0.2:
        green = green + rng.uniform(0.4, 1) * np.array([0.25, 0.18, 0.05])  # yellowish
    mottle = fractal_noise(rng, shape, min(shape) / 6, 4)
    blade = np.asarray(green, np.float32) * (1 + 0.08 * mottle[..., None])
    return blend(blade, leaf.veins * rng.uniform(0.15, 0.5), green * 1.25 + 0.08)


def _spots(rng: np.random.Generator, blade: Field, leaf: _Leaf) -> tuple[Field, Field]:
    """A few to very many roundish spots, often with a yellow halo and a pale middle."""
    shape = leaf.inside.shape
    side = min(shape)
    count = int(np.exp(rng.uniform(np.log(4), np.log(90))))
    largest = side * min(0.09, 0.45 / np.sqrt(count))
    ragged = fractal_noise(rng, shape, max(largest, 3), 3)
    nearest = np.full(shape, 9, np.float32)
    places = np.argwhere(leaf.inside > 0.9)
    for row, column in places[rng.integers(len(places), size=count)]:
        radius = max(largest * rng.uniform(0.25, 1), 1.2)
        reach = int(3 * radius) + 1
        rows = slice(max(row - reach, 0), row + reach + 1)
        columns = slice(max(column - reach, 0), column + reach + 1)
        y, x = np.mgrid[rows, columns][:, : shape[0] - rows.start, : shape[1] - columns.start]
        window = nearest[rows, columns]
        distance = np.hypot(y - row, (x - column) * rng.uniform(0.75, 1.3)) / radius
        np.minimum(window, distance + 0.22 * ragged[rows, columns], out=window)
    colour = rng.choice(_NECROTIC)
    halo = np.clip(1.9 - nearest, 0, 1) * rng.uniform(0, 0.8)
    blade = blend(blade, halo, _YELLOW)
    inside = scipy.special.expit((1 - nearest) * 8)
    blade = blend(blade, inside * rng.uniform(0.75, 1), colour)
    if rng.random() < 0.4:
        blade = blend(blade, scipy.special.expit((0.45 - nearest) * 8), colour * 0.5 + 0.4)
    return blade, np.asarray(inside * (nearest < 1.05), np.float32)


def _blight(rng: np.random.Generator, blade: Field, leaf: _Leaf) -> tuple[Field, Field]:
    """One to three large dying patches, ringed, most of them from the edge."""
    shape = leaf.inside.shape
    side = min(shape)
    nearest = np.full(shape, 9, np.float32)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    places = np.argwhere(leaf.inside > 0.9)
    rims = places[np.abs(leaf.across[tuple(places.T)]) > 0.6]
    rough = fractal_noise(rng, shape, side / 5, 4)
    for _ in range(rng.integers(1, 4)):
        choice = rims if len(rims) and rng.random() < 0.6 else places
        row, column = choice[rng.integers(len(choice))]
        radius = side * rng.uniform(0.1, 0.3)
        distance = np.hypot(y - row, (x - column) * rng.uniform(0.7, 1.4)) / radius
        nearest = np.minimum(nearest, distance)
    nearest += 0.2 * rough
    rings = 0.5 + 0.5 * np.cos(2 * np.pi * nearest * rng.uniform(2, 5))
    colour = rng.choice(_NECROTIC)
    texture = 1 + 0.2 * fractal_noise(rng, shape, side / 16, 3) + rng.uniform(0, 0.35) * rings
    blade = blend(blade, np.clip(1.45 - nearest, 0, 1) * rng.uniform(0, 0.9), _YELLOW)
    damage = scipy.special.expit((1 - nearest) * rng.uniform(8, 25))
    dead = colour * texture[..., None].astype(np.float32)
    return blend(blade, damage * rng.uniform(0.8, 1), dead), damage


def _mildew(rng: np.random.Generator, blade: Field, leaf: _Leaf) -> tuple[Field, Field]:
    """White powder in flecks that run together."""
    shape = leaf.inside.shape
    flecks = fractal_noise(rng, shape, min(shape) / rng.uniform(5, 11), 4) - 0.7 * leaf.veins
    damage = scipy.special.expit((flecks - rng.uniform(-0.2, 0.9)) * 5)
    grain = np.clip(0.85 + 0.2 * smooth_noise(rng, shape, 2), 0, 1)
    return blend(blade, damage * grain * rng.uniform(0.55, 0.9), _POWDER), damage


def _yellowing(rng: np.random.Generator, blade: Field, leaf: _Leaf) -> tuple[Field, Field]:
    """Yellow to orange patches that leave the veins green, with dead points in them."""
    shape = leaf.inside.shape
    side = min(shape)
    patches = fractal_noise(rng, shape, side / rng.uniform(2.5, 5), 4) - leaf.veins
    damage = scipy.special.expit((patches - rng.uniform(0.1, 0.9)) * 6)
    colour = _YELLOW * np.array([1.0, rng.uniform(0.75, 1.05), 1.0])
    blade = blend(blade, damage * rng.uniform(0.6, 0.95), colour)
    points = np.clip(2 * (smooth_noise(rng, shape, side / 40) - 1.2), 0, 1) * damage
    return blend(blade, points, rng.choice(_NECROTIC)), damage


def _scorch(rng: np.random.Generator, blade: Field, leaf: _Leaf) -> tuple[Field, Field]:
    """The edge and the tip dry up, behind a yellow front."""
    shape = leaf.inside.shape
    inwards = np.maximum(np.abs(leaf.across), leaf.along**2 * rng.uniform(0.7, 1.1))
    inwards = inwards + 0.14 * fractal_noise(rng, shape, min(shape) / 5, 4)
    front = rng.uniform(0.6, 0.85)
    blade = blend(blade, np.clip((inwards - front + 0.15) * 8, 0, 1) * 0.7, _YELLOW)
    damage = scipy.special.expit((inwards - front) * 30)
    texture = 1 + 0.18 * fractal_noise(rng, shape, min(shape) / 14, 3)
    return blend(blade, damage * 0.95, rng.choice(_NECROTIC) * texture[..., None]), damage


def _light(rng: np.random.Generator, relief: Field) -> Field:
    """Sun from one side on the leaf's relief, with soft shadows of what is around."""
    nx, ny, nz = normals(relief)
    towards = rng.uniform(-0.6, 0.6, 2)
    diffuse = 0.35 + 0.75 * (nz + towards[0] * nx + towards[1] * ny)
    shade = 1 + 0.12 * smooth_noise(rng, relief.shape, min(relief.shape) / 2)
    return np.asarray(rng.uniform(0.75, 1.1) * np.clip(diffuse, 0.1, 1.6) * shade, np.float32)


def _background(rng: np.random.Generator, shape: tuple[int, int]) -> Field:
    """Foliage out of focus, soil, or a plain backdrop."""
    side = min(shape)
    kind = rng.choice(["foliage", "soil", "plain"], p=[0.6, 0.2, 0.2])
    light = 1 + 0.15 * smooth_noise(rng, shape, side / 2)[..., None]
    if kind == "plain":
        return np.asarray(rng.choice(_BACKDROPS) * (1 + (light - 1) / 4), np.float32)
    if kind == "soil":
        crumbs = fractal_noise(rng, shape, side / 6, 2) + 2 * fractal_noise(rng, shape, 6, 3)
        return np.asarray(rng.choice(_SOIL) * (1 + 0.09 * crumbs[..., None]) * light, np.float32)
    scene = np.asarray(np.array([0.13, 0.2, 0.1]) * rng.uniform(0.6, 2) * light, np.float32)
    for _ in range(rng.integers(3, 7)):
        other = fractal_noise(rng, shape, side / rng.uniform(1.5, 4), 3) - rng.uniform(0.2, 1)
        colour = np.array([0.3, 0.42, 0.2]) * rng.uniform(0.4, 1.2) + rng.normal(0, 0.03, 3)
        scene = blend(scene, scipy.special.expit(other * rng.uniform(3, 9)), np.clip(colour, 0, 1))
    blur = rng.uniform(0.01, 0.05) * side
    return np.asarray(scipy.ndimage.gaussian_filter(scene, (blur, blur, 0)), np.float32)


def _annotated(rng: np.random.Generator, damage: Field, inside: Field) -> Labels:
    """The diseased parts as an annotator outlines them: smoothed, without specks, never empty."""
    if rng.random() < float(damage.sum() / inside.sum()) ** 2:
        return np.asarray(inside > 0.5, np.uint8)
    smooth = scipy.ndimage.gaussian_filter(damage, rng.uniform(0.5, 1.3))
    marked = smooth > min(rng.uniform(0.3, 0.5), 0.6 * float(smooth.max()))
    pieces, _ = scipy.ndimage.label(marked)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray((sizes >= min(5, sizes.max()))[pieces], np.uint8)
