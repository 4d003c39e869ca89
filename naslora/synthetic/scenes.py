"""Scenes that small SAMs are pretrained on: abstract shapes, of no benchmark's domain.

Formula-driven supervision: what is drawn is known pixel by pixel, and no real object is shown.
Grounds are textures or dead leaves (shapes that cover each other until hardly anything of the plane
is left); objects lie on them and on each other, plain or camouflaged, opaque or translucent, shaded
or flat; light, colour cast, blur and noise come last. There are no cast shadows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from naslora.synthetic.fields import Field
from naslora.synthetic.noise import smooth_noise
from naslora.synthetic.scenes_shapes import SHAPES, Mask
from naslora.synthetic.scenes_textures import draw_colour, draw_texture

Shape = tuple[int, int]
_STREAM = 0x5CE7E5  # keeps these streams apart from those of the benchmarks' generators
_OBJECTS = ("blob", "blob", "ellipse", "polygon", "curve", "network", "level_set", "ring", "spots")
FIRST_OBJECT = 64
_LEAVES = ("blob", "ellipse", "polygon", "curve")
_SMALLEST = 12  # pixels that an instance shows at least, at 128 x 128


@dataclass(frozen=True)
class Scene:
    """A generated scene.

    Attributes:
        image: uint8 (H, W, 3).
        instances: uint8 (H, W); 0 on the ground, else the number of the instance seen there: below
            `FIRST_OBJECT` a leaf of the ground, from there on an object that stands out.
    """

    image: NDArray[np.uint8]
    instances: NDArray[np.uint8]

    @property
    def foreground(self) -> Mask:
        """Bool (H, W), what stands out."""
        return self.instances >= FIRST_OBJECT


def scene_stream(seed: int, index: int) -> np.random.Generator:
    """The random stream of scene `index`, so that a scene depends on its seed and index alone."""
    return np.random.default_rng([_STREAM, seed, index])


def draw_scene(rng: np.random.Generator, size: int) -> Scene:
    """Draw a scene of size x size pixels, with at least one object that stands out."""
    shape = (size, size)
    ground = draw_colour(rng)
    instances = np.zeros(shape, np.uint8)
    image = draw_texture(rng, shape, ground)
    if rng.random() < 0.25:
        image = _leaves(rng, image, instances, ground)
    image = _distractors(rng, image, ground)
    common = str(rng.choice(_OBJECTS)) if rng.random() < 0.3 else None
    count = int(rng.choice([1, 2, 3, 4, 6, 9, 14], p=[0.22, 0.2, 0.18, 0.14, 0.12, 0.08, 0.06]))
    for number in range(FIRST_OBJECT, FIRST_OBJECT + count):
        image = _object(rng, image, instances, number, count, common)
    smallest = round(_SMALLEST * size**2 / 128**2)
    _remove_small(instances, smallest)
    if not (instances >= FIRST_OBJECT).any():
        middle = np.array([size / 2, size / 2])
        mask = SHAPES["ellipse"](rng, shape, middle, size / 6)
        instances[mask], image[mask] = FIRST_OBJECT, draw_colour(rng, ground, 0.4)
    return Scene(_photographed(rng, image), instances)


def _leaves(
    rng: np.random.Generator, image: Field, instances: NDArray[np.uint8], ground: Field
) -> Field:
    """Dead leaves: shapes in colours near the ground's that cover most of it."""
    shape = instances.shape
    side = min(shape)
    spread = rng.uniform(0.05, 0.3)
    kind = str(rng.choice(_LEAVES))
    largest = rng.uniform(0.08, 0.25)
    grain = image - ground
    for number in range(1, int(rng.integers(15, 45))):
        radius = side * np.exp(rng.uniform(np.log(0.04), np.log(largest)))
        centre = rng.uniform(0, side, 2)
        mask = SHAPES[kind](rng, shape, centre, radius)
        colour = draw_colour(rng, ground, spread * rng.uniform(0.3, 1))
        image[mask] = colour + grain[mask] * rng.uniform(0, 1.5)
        instances[mask] = number
    return image


def _distractors(rng: np.random.Generator, image: Field, ground: Field) -> Field:
    """Faint shapes and lines that are not objects."""
    if rng.random() < 0.5:
        return image
    shape = image.shape[:2]
    for _ in range(rng.integers(1, 7)):
        kind = ("blob", "curve", "level_set", "spots", "network")[rng.integers(5)]
        radius = min(shape) * np.exp(rng.uniform(np.log(0.04), np.log(0.3)))
        mask = SHAPES[kind](rng, shape, rng.uniform(0, min(shape), 2), radius)
        image[mask] += draw_colour(rng, ground, rng.uniform(0.01, 0.06)) - ground
    return image


def _object(
    rng: np.random.Generator,
    image: Field,
    instances: NDArray[np.uint8],
    number: int,
    count: int,
    common: str | None,
) -> Field:
    """Draw one object over what is there, and number its pixels."""
    shape = instances.shape
    side = min(shape)
    largest = 0.45 if count <= 3 else 0.28 if count <= 6 else 0.14
    radius = side * np.exp(rng.uniform(np.log(0.04), np.log(largest)))
    centre = rng.uniform(0.08, 0.92, 2) * side
    mask = SHAPES[common or str(rng.choice(_OBJECTS))](rng, shape, centre, radius)
    if not mask.any():
        return image
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    margin = 3
    box = (
        slice(max(rows[0] - margin, 0), rows[-1] + margin + 1),
        slice(max(columns[0] - margin, 0), columns[-1] + margin + 1),
    )
    inside = mask[box]
    cover = inside.astype(np.float32)
    below = image[box]
    soft = rng.random()
    if soft < 0.35:
        cover = scipy.ndimage.gaussian_filter(cover, side * rng.uniform(0.002, 0.012))
    look = _look(rng, below, inside)
    if rng.random() < 0.35:
        look = _shaded(rng, look, inside)
    image[box] = below + cover[..., None] * (look - below)
    instances[box][inside] = number
    return image


def _look(rng: np.random.Generator, below: Field, inside: Mask) -> Field:
    """The appearance of an object, on the pixels of its box (h, w, 3)."""
    shape = inside.shape
    mean = below[inside].mean(0)
    kind = rng.random()
    contrast = np.exp(rng.uniform(np.log(0.07), np.log(0.8)))
    if kind < 0.6:  # a texture of its own
        return draw_texture(rng, shape, draw_colour(rng, mean, contrast))
    if kind < 0.75:  # a translucent sheet of one colour
        share = rng.uniform(0.2, 0.75)
        return below * (1 - share) + share * draw_colour(rng, mean, max(contrast, 0.25))
    if kind < 0.9:  # camouflage: the ground's own texture from elsewhere, a little changed
        moved = np.roll(below[::-1], rng.integers(0, max(shape)), axis=1)
        gain = np.exp(rng.normal(0, 0.35))
        change = draw_colour(rng, mean, rng.uniform(0.06, 0.2)) - mean
        return np.asarray((moved - mean) * gain + mean + change, np.float32)
    # a texture of the colour of what is below
    strength = float(rng.uniform(0.08, 0.25))
    change = draw_colour(rng, mean, rng.uniform(0.02, 0.08))
    return draw_texture(rng, shape, change, strength)


def _shaded(rng: np.random.Generator, look: Field, inside: Mask) -> Field:
    """Light from one side on a rounded body, or a rim."""
    depth = min(inside.shape) * rng.uniform(0.03, 0.2) + 0.7
    if rng.random() < 0.6:
        height = scipy.ndimage.gaussian_filter(inside.astype(np.float32), depth)
        dy, dx = np.gradient(height)
        turn = rng.uniform(0, 2 * np.pi)
        light = (np.cos(turn) * dx + np.sin(turn) * dy) * depth * rng.uniform(0.5, 2)
        return np.asarray(look * (1 + np.clip(light, -0.7, 1.2))[..., None], np.float32)
    rim = inside ^ scipy.ndimage.binary_erosion(inside, iterations=int(rng.integers(1, 3)))
    return np.asarray(look + (rng.uniform(-0.4, 0.4) * rim)[..., None], np.float32)


def _remove_small(instances: NDArray[np.uint8], smallest: int) -> None:
    """Remove instances of which fewer than `smallest` pixels are visible."""
    counts = np.bincount(instances.ravel(), minlength=256)
    instances[(counts < smallest)[instances]] = 0


def _photographed(rng: np.random.Generator, image: Field) -> NDArray[np.uint8]:
    """Light, colour cast, contrast, blur and noise."""
    shape = image.shape[:2]
    if rng.random() < 0.5:
        light = 1 + rng.uniform(0, 0.25) * smooth_noise(rng, shape, min(shape))
        image = image * np.clip(light, 0.3, 1.7)[..., None]
    if rng.random() < 0.4:
        image = image * np.asarray(np.exp(rng.normal(0, 0.15, 3)), np.float32)
    if rng.random() < 0.4:
        image = (image - 0.5) * rng.uniform(0.35, 1.1) + rng.uniform(0.3, 0.7)
    if rng.random() < 0.6:
        blur = min(shape) / 128 * rng.uniform(0.3, 1.3)
        image = scipy.ndimage.gaussian_filter(image, (blur, blur, 0), truncate=2.5)
    noise = rng.uniform(0, 0.05) * (rng.random() < 0.7)
    noisy = image + noise * rng.standard_normal(image.shape, dtype=np.float32)
    return np.asarray(np.clip(noisy, 0, 1) * 255, np.uint8)
