"""Drawn outdoor scenes with cast shadows, in the look of SBU."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from naslora.synthetic import silhouettes
from naslora.synthetic.fields import Field, Labels
from naslora.synthetic.grounds import View, draw_ground, draw_view, sampled, stained, with_sky
from naslora.synthetic.noise import smooth_noise
from naslora.synthetic.painting import blend, photograph

_LONG_SIDE = (170, 250)
_ASPECT = (1.2, 1.5)


def draw_shadows(rng: np.random.Generator) -> tuple[NDArray[np.uint8], Labels]:
    """Draw an image and the mask of its cast shadows.

    A sunny ground of asphalt, slabs, grass or sand, seen from above or up to a horizon, under the
    shadows of people, animals, buildings, posts or trees, with soft borders. Dark things that are
    not shadows (what casts them, wet patches, hedges, boxes) are there as distractors.

    Returns:
        Image uint8 (H, W, 3) and labels uint8 (H, W), 1 in a shadow; longer side of 170 to 250
        pixels.
    """
    width = int(rng.integers(*_LONG_SIDE))
    shape = (round(width / rng.uniform(*_ASPECT)), width)
    view = draw_view(rng, shape)
    image = draw_ground(rng, view)
    image = stained(rng, view, image)
    darkness = np.zeros(shape, np.float32)
    things: list[tuple[Field, Field]] = []
    for _ in range(1 + (rng.random() < 0.25)):
        shadow, thing = _SCENES[rng.choice(len(_SCENES), p=_WEIGHTS)](rng, view)
        np.maximum(darkness, shadow * view.near, out=darkness)
        things += thing
    left = rng.uniform(0.18, 0.4)
    # What is left is skylight, which is bluer than the sun's.
    sky = left * np.array([0.88, 1.0, 1.18], np.float32) ** rng.uniform(0.3, 1.3)
    image = image * (1 - darkness[..., None] * (1 - sky))
    labels = (darkness > 0.5).astype(np.uint8)
    image, labels = with_sky(rng, view, image, labels)
    for cover, colour in [*things, *_dark_boxes(rng, view)]:
        image = blend(image, cover, colour)
        labels[cover > 0.5] = 0
    image *= (1 + rng.normal(0, 0.03, 3)).astype(np.float32) * rng.uniform(0.9, 1.15)
    return photograph(rng, image, blur=rng.uniform(0.3, 0.7), noise=0.012), labels


def _soft(rng: np.random.Generator, distance: Field, reach: Field | float = 0.0) -> Field:
    """Darkness in [0, 1] by the distance from a shadow's outline in pixels; 0.5 on the outline.

    The border widens by `reach` pixels, as it does away from what casts the shadow.
    """
    width = rng.uniform(0.7, 2.2) + reach
    return np.asarray(np.clip(0.5 - distance / (2 * width), 0, 1), np.float32)


Scene = tuple[Field, list[tuple[Field, Field]]]


def _figures(rng: np.random.Generator, view: View) -> Scene:
    """People or animals; some stand in the picture, of others only the shadow is visible."""
    height, width = view.shape
    animals = rng.random() < 0.4
    draw = silhouettes.quadruped if animals else silhouettes.person
    stand = 0.6 if animals else 1.0  # from the middle of the trunk to the feet, in sizes
    count = int(rng.integers(1, 4))
    size = height * (rng.uniform(0.16, 0.28) if animals else rng.uniform(0.22, 0.42))
    shown = animals or rng.random() < 0.4
    sunward = rng.uniform(0.35, 1.1) * rng.choice([-1, 1])
    length = rng.uniform(0.7, 1.7)
    dark = np.zeros(view.shape, np.float32)
    things = []
    for _ in range(count):
        size_here = size * rng.uniform(0.85, 1.15)
        low = max(view.horizon, 0) + 0.3 * height
        foot = (rng.uniform(low, height), rng.uniform(0.15, 0.85) * width)
        pose = int(rng.integers(1 << 31))
        # Laid down from the feet, to the side and upwards or, towards the camera, downwards.
        to_head = (-0.55 * length, sunward * length) if not shown else (0.5 * length, sunward)
        lie = (-to_head[0] * size_here, -to_head[1] * size_here)
        middle = (foot[0] - stand * lie[0], foot[1] - stand * lie[1])
        canvas = silhouettes.Canvas(view.shape, middle, (0.12 * size_here, size_here), lie)
        distance = draw(np.random.default_rng(pose), canvas) * 0.6 * size_here
        np.maximum(dark, _soft(rng, distance), out=dark)
        if shown:
            middle = (foot[0] - stand * size_here, foot[1])
            canvas = silhouettes.Canvas.turned(view.shape, middle, size_here, 0.0, False)
            distance = draw(np.random.default_rng(pose), canvas) * size_here
            colour = _coat(rng) if animals else _dressed(rng, view, middle[0], size_here)
            things.append((np.clip(0.5 - distance, 0, 1), _rounded(rng, distance, colour)))
    return dark, things


def _coat(rng: np.random.Generator) -> Field:
    tone = np.exp(rng.uniform(np.log(0.1), np.log(0.85)))
    return np.asarray(tone * np.array([1.0, rng.uniform(0.8, 1), rng.uniform(0.6, 1)]), np.float32)


def _dressed(rng: np.random.Generator, view: View, middle: float, size: float) -> Field:
    """Colours (H, 1, 3) of a head, a top and trousers, by the row of the image."""
    rows = (np.arange(view.shape[0])[:, None, None] - middle) / size
    skin = np.array([0.75, 0.55, 0.42]) * rng.uniform(0.5, 1.1)
    bright = np.exp(rng.uniform(np.log(0.08), np.log(0.8), (2, 1)))
    top, trousers = bright * (1 + rng.normal(0, 0.2, (2, 3)))
    return np.asarray(np.select([rows < -0.68, rows < 0.05], [skin, top], trousers), np.float32)


def _rounded(rng: np.random.Generator, distance: Field, colour: Field) -> Field:
    """A thing's look (H, W, 3): its colour, lighter in its middle and grainy."""
    light = 0.75 + 0.35 * np.clip(-distance / 5, 0, 1)
    light = light + 0.06 * rng.standard_normal(distance.shape)
    return np.asarray(np.clip(light[..., None] * colour, 0, 1), np.float32)


def _building(rng: np.random.Generator, view: View) -> Scene:
    """The straight edge of a roof, with steps, from one side of the image."""
    height, width = view.shape
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    away = (rows - height / 2) * np.sin(angle) + (columns - width / 2) * np.cos(angle)
    beside = (columns - width / 2) * np.sin(angle) - (rows - height / 2) * np.cos(angle)
    edge = rng.uniform(0.05, 0.35) * height
    for _ in range(int(rng.integers(0, 3))):
        middle, half = rng.uniform(-0.5, 0.5) * width, rng.uniform(0.05, 0.25) * width
        tall = rng.uniform(0.08, 0.25) * height * (np.abs(beside - middle) < half)
        away = away + tall
    uneven = 0.6 * smooth_noise(rng, view.shape, 6)
    return _soft(rng, edge - away + uneven, rng.uniform(0, 2)), []


def _posts(rng: np.random.Generator, view: View) -> Scene:
    """Posts or trunks whose thin shadows cross the ground."""
    height, width = view.shape
    dark = np.zeros(view.shape, np.float32)
    things = []
    lean = rng.uniform(-1.2, 1.2)
    tilt = rng.uniform(0.25, 0.9) * (1 if rng.random() < 0.7 else -0.4)
    for _ in range(int(rng.integers(1, 4))):
        top = max(view.horizon, 0) + 0.3 * height
        foot = (rng.uniform(min(top, 0.8 * height), 0.9 * height), rng.uniform(0.1, 0.9) * width)
        radius = height * rng.uniform(0.012, 0.05)
        far = (foot[1] + lean * height, foot[0] + tilt * height)
        shadow = silhouettes.Figure.on(_pixels(view.shape))
        shadow.limb((foot[1], foot[0]), far, (radius, radius * 1.2))
        gone = np.hypot(shadow.x - foot[1], shadow.y - foot[0]) / height
        np.maximum(dark, _soft(rng, shadow.distance, 3 * gone), out=dark)
        post = silhouettes.Figure.on(_pixels(view.shape))
        post.limb((foot[1], foot[0]), (foot[1] + 2 * rng.normal(), -height), (radius, radius * 0.8))
        tone = np.exp(rng.uniform(np.log(0.08), np.log(0.5)))
        colour = tone * np.array([1.1, 1.0, 0.85], np.float32)
        things.append((np.clip(0.5 - post.distance, 0, 1), _rounded(rng, post.distance, colour)))
    return dark, things


def _tree(rng: np.random.Generator, view: View) -> Scene:
    """A crown full of holes, with its trunk's shadow."""
    height, width = view.shape
    rows, columns = view.ground()
    flat = rng.uniform(0.5, 0.9)
    centre = (rng.uniform(-0.1, 0.5) * height, rng.uniform(-0.45, 0.45) * width)
    radius = rng.uniform(0.25, 0.55) * height
    away = np.hypot((rows - centre[0]) * flat, columns - centre[1]) - radius
    leaves = sampled(rng, view, rng.uniform(8, 22), 4)
    crown = away + radius * rng.uniform(0.2, 0.4) * leaves
    trunk = silhouettes.Figure.on(_pixels(view.shape))
    end = (width * rng.uniform(0, 1), height * 1.1)
    trunk.limb((width / 2 + centre[1], height * 0.75), end, (0.02 * height, 0.05 * height))
    return _soft(rng, np.minimum(crown, trunk.distance), 0.5), []


def _pixels(shape: tuple[int, int]) -> silhouettes.Canvas:
    """A canvas whose x and y are columns and rows."""
    return silhouettes.Canvas(shape, (0.0, 0.0), (0.0, 1.0), (1.0, 0.0))


_SCENES: tuple[Callable[[np.random.Generator, View], Scene], ...] = (
    _figures,
    _building,
    _posts,
    _tree,
)
_WEIGHTS = (0.4, 0.25, 0.15, 0.2)


def _dark_boxes(rng: np.random.Generator, view: View) -> list[tuple[Field, Field]]:
    """Bags, stones and lids on the ground that are about as dark as a shadow."""
    height, width = view.shape
    things = []
    for _ in range(int(rng.integers(0, 3))):
        top = min(max(view.horizon, 0) + 0.2 * height, 0.8 * height)
        box = silhouettes.Figure.on(_pixels(view.shape))
        centre = (rng.uniform(0, width), rng.uniform(top, height))
        radius = rng.uniform(0.02, 0.07) * height
        box.disc(centre, radius * rng.uniform(1, 1.8), radius)
        colour = rng.uniform(0.08, 0.3) * (1 + rng.normal(0, 0.1, 3)).astype(np.float32)
        things.append((np.clip(0.5 - box.distance, 0, 1), _rounded(rng, box.distance, colour)))
    return things
