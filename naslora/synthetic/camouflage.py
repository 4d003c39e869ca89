"""Drawn creatures on grounds of their own texture, in the look of COD10K and CAMO."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from naslora.synthetic import silhouettes
from naslora.synthetic.fields import Field, Labels
from naslora.synthetic.noise import fractal_noise, smooth_noise
from naslora.synthetic.painting import blend, normals, photograph

_LONG_SIDE = (170, 250)
_ASPECT = (1.15, 1.5)
# Half of the labels' outline is blurred this far, in pixels, as hair and lenses do.
_EDGE = (0.5, 1.4)


def draw_camouflage(rng: np.random.Generator) -> tuple[NDArray[np.uint8], Labels]:
    """Draw an image and the mask of the creature that hides in it.

    Creature and ground are cut from one sheet of a texture: bark, leaves, grass, gravel or lichen.
    So colours and grain agree; the creature is visible by the rotation and shift of its piece, a
    faint difference in tone, the light on its back, and a thin shadow at its side.

    Returns:
        Image uint8 (H, W, 3) and labels uint8 (H, W), 1 on the creature; longer side of 170 to
        250 pixels.
    """
    shape = _shape(rng)
    sheet = _sheet(rng, round(1.5 * max(shape)))
    image = _cut(rng, sheet, shape, angle=0.0)
    distance = _creature(rng, shape)
    side = min(shape)
    blur = rng.uniform(*_EDGE)
    cover = 0.5 - distance / (2 * blur)

    coat = _cut(rng, sheet, shape, angle=rng.uniform(30, 150))
    strength = rng.beta(3.0, 2.0)
    coat = coat * (1 + rng.normal(0, 0.04 + 0.16 * strength, 3).astype(np.float32))
    coat = coat * (1 + rng.choice([-1, 1]) * (0.3 + 0.45 * strength))
    coat = _shaded(rng, coat, distance, strength)

    lean = rng.uniform(0, 2 * np.pi)
    cast = scipy.ndimage.shift(
        distance, side * 0.02 * np.array([np.sin(lean), np.cos(lean)]), order=1
    )
    shadow = np.clip(0.5 - cast / (0.025 * side), 0, 1) * (0.15 + 0.45 * strength)
    image = image * (1 - shadow[..., None])
    return _photographed(rng, blend(image, cover, coat)), (distance < 0).astype(np.uint8)


def draw_ground(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw an image uint8 (H, W, 3) of the same grounds with nothing hidden in it."""
    shape = _shape(rng)
    return _photographed(rng, _cut(rng, _sheet(rng, round(1.2 * max(shape))), shape, angle=0.0))


def _shape(rng: np.random.Generator) -> tuple[int, int]:
    width = int(rng.integers(*_LONG_SIDE))
    shape = (round(width / rng.uniform(*_ASPECT)), width)
    return shape if rng.random() < 0.85 else (shape[1], shape[0])


def _creature(rng: np.random.Generator, shape: tuple[int, int]) -> Field:
    """Distance from the outline in pixels, negative inside."""
    draw = silhouettes.CREATURES[rng.integers(len(silhouettes.CREATURES))]
    size = min(shape) * np.exp(rng.uniform(np.log(0.3), np.log(0.55)))
    origin = (rng.uniform(0.25, 0.75) * shape[0], rng.uniform(0.2, 0.8) * shape[1])
    upright = draw not in (silhouettes.insect, silhouettes.moth)
    angle = rng.normal(0, 0.2) if upright else rng.uniform(0, 2 * np.pi)
    canvas = silhouettes.Canvas.turned(shape, origin, size, angle, bool(rng.random() < 0.5))
    distance = draw(rng, canvas) * size
    rough = rng.uniform(0, 0.012) * size
    return np.asarray(distance + rough * fractal_noise(rng, shape, 8, 2), np.float32)


def _shaded(rng: np.random.Generator, coat: Field, distance: Field, strength: float) -> Field:
    """Light on a rounded back."""
    depth = np.clip(-distance, 0, None)
    height = 6 * np.sqrt(np.clip(depth / 6, 0, 1)) + np.clip(depth / 3, 0, 6)
    nx, ny, nz = normals(scipy.ndimage.gaussian_filter(height.astype(np.float32), 1.5))
    angle = rng.uniform(0, 2 * np.pi)
    light = 0.75 * nz + 0.5 * (np.cos(angle) * nx + np.sin(angle) * ny)
    amount = 0.25 + 0.5 * strength
    return np.asarray(coat * (1 - amount + amount * light / 0.75)[..., None], np.float32)


def _cut(
    rng: np.random.Generator, sheet: Image.Image, shape: tuple[int, int], angle: float
) -> Field:
    """A piece (H, W, 3) of the sheet, in [0, 1], turned by `angle` degrees; mirrored at edges."""
    turned = sheet.rotate(angle, Image.Resampling.BILINEAR) if angle else sheet
    # Rotation leaves the corners black; only a smaller square in the middle is free of them.
    free = round(sheet.width * (1 - 1 / np.sqrt(2)) / 2) if angle else 0
    whole = sheet.width - 2 * free
    top, left = (free + int(rng.integers(0, max(whole - side, 0) + 1)) for side in shape)
    box = (left, top, min(left + shape[1], free + whole), min(top + shape[0], free + whole))
    piece = np.asarray(turned.crop(box), np.float32) / 255
    short = [(0, max(side - have, 0)) for side, have in zip(shape, piece.shape[:2], strict=True)]
    return np.asarray(np.pad(piece, (*short, (0, 0)), mode="reflect"), np.float32)


def _photographed(rng: np.random.Generator, image: Field) -> NDArray[np.uint8]:
    """Uneven light, a little noise, eight bits."""
    shape = image.shape[:2]
    light = 1 + rng.uniform(0, 0.16) * smooth_noise(rng, shape, min(shape) / 1.5)
    graded = image * np.clip(light, 0.5, 1.5)[..., None] * rng.uniform(0.85, 1.15)
    return photograph(rng, np.asarray(graded, np.float32), blur=0, noise=0.012)


def _sheet(rng: np.random.Generator, side: int) -> Image.Image:
    """A square sheet of one texture."""
    return _TEXTURES[rng.integers(len(_TEXTURES))](rng, side)


def _to_image(colour: Field) -> Image.Image:
    return Image.fromarray((np.clip(colour, 0, 1) * 255).astype(np.uint8))


def _bark(rng: np.random.Generator, side: int) -> Image.Image:
    """Long plates between dark cracks, with patches of moss."""
    stretch = rng.uniform(2.5, 5)
    narrow = (round(side / stretch), side)

    def stretched(scale: float, octaves: int) -> Field:
        noise = Image.fromarray(fractal_noise(rng, narrow, scale, octaves))
        return np.asarray(noise.resize((side, side), Image.Resampling.BICUBIC), np.float32)

    plates = np.abs(stretched(side / 16, 4))
    cracks = np.exp(-((plates / 0.25) ** 2))[..., None]
    base = np.array([0.52, 0.43, 0.34], np.float32) * rng.uniform(0.75, 1.25)
    base = base * (1 + rng.normal(0, 0.06, 3).astype(np.float32))
    colour = base * (1 + 0.2 * stretched(side / 30, 3)[..., None])
    colour = colour * (1 + 0.16 * fractal_noise(rng, (side, side), 5, 2)[..., None])
    colour = colour * (1 - rng.uniform(0.4, 0.75) * cracks)
    moss = np.clip(fractal_noise(rng, (side, side), side / 8, 4) - rng.uniform(0.2, 2), 0, 1)
    green = np.array([0.5, 0.56, 0.38], np.float32) * rng.uniform(0.8, 1.2)
    return _to_image(blend(colour, 0.8 * moss, green))


def _lichen(rng: np.random.Generator, side: int) -> Image.Image:
    """Rock or coral in a few blotchy colours."""
    shape = (side, side)
    base = rng.uniform(0.35, 0.6) * np.array([1, rng.uniform(0.85, 1), rng.uniform(0.65, 0.95)])
    colour = np.broadcast_to(base.astype(np.float32), (*shape, 3)).copy()
    for _ in range(4):
        patch = fractal_noise(rng, shape, side / rng.uniform(8, 25), 4)
        cover = 1 / (1 + np.exp(-(patch - rng.uniform(0, 1)) * 6))
        tone = base * rng.uniform(0.5, 1.6) * (1 + rng.normal(0, 0.06, 3))
        colour += cover[..., None] * (tone.astype(np.float32) - colour)
    grain = 1 + 0.16 * fractal_noise(rng, shape, 7, 3)[..., None]
    return _to_image(np.asarray(colour * grain, np.float32))


def _tones(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    """Colours of dry or green plants, or of stones: (count, 3) in 0..255, one family per call."""
    families = ([150, 120, 75], [95, 115, 55], [165, 145, 85], [130, 118, 105], [110, 85, 65])
    centre = np.array(families[rng.integers(len(families))], float) * rng.uniform(0.8, 1.2)
    bright = np.exp(rng.normal(0, 0.28, (count, 1)))
    hue = 1 + rng.normal(0, 0.035, (count, 3))
    return np.asarray(np.clip(centre * bright * hue, 0, 255), np.int64)


def _leaves(rng: np.random.Generator, side: int) -> Image.Image:
    """Leaves in layers, the lower ones darker."""
    count = 650
    length = side * rng.uniform(0.03, 0.075) * np.exp(rng.normal(0, 0.2, count))
    angle = rng.normal(rng.uniform(0, np.pi), rng.uniform(0.3, 1.5), count)
    slim = rng.uniform(0.2, 0.45)
    along = np.stack([np.cos(angle), np.sin(angle)], 1) * length[:, None]
    across = np.stack([-np.sin(angle), np.cos(angle)], 1) * length[:, None] * slim
    centre = rng.uniform(-0.05, 1.05, (count, 2)) * side
    depth = np.linspace(0.45, 1, count)[:, None]
    tones = (_tones(rng, count) * depth).astype(int)
    sheet = Image.new("RGB", (side, side), tuple(int(v) for v in 0.6 * tones[0]))
    pen = ImageDraw.Draw(sheet)
    for c, u, v, tone in zip(centre, along, across, tones, strict=True):
        outline = [c - u, c - 0.4 * u + v, c + 0.4 * u + 0.8 * v, c + u]
        outline += [c + 0.4 * u - 0.8 * v, c - 0.4 * u - v]
        pen.polygon([(p[0], p[1]) for p in outline], fill=tuple(tone.tolist()))
        rib = tuple((tone * 0.7).astype(int).tolist())
        pen.line([(c - u)[0], (c - u)[1], (c + u)[0], (c + u)[1]], fill=rib)
    return sheet


def _grass(rng: np.random.Generator, side: int) -> Image.Image:
    """Blades or reeds, mostly upright."""
    count = 1100
    tones = (_tones(rng, count) * np.linspace(0.35, 1.1, count)[:, None]).clip(0, 255).astype(int)
    sheet = Image.new("RGB", (side, side), tuple(int(v) for v in 0.7 * tones[0]))
    pen = ImageDraw.Draw(sheet)
    spread = rng.uniform(0.1, 0.45)
    length = side * rng.uniform(0.1, 0.3) * np.exp(rng.normal(0, 0.3, count))
    lean = rng.normal(np.pi / 2, spread, count)
    foot = rng.uniform(-0.1, 1.1, (count, 2)) * side
    bend = rng.normal(0, 0.25, count)
    width = rng.integers(1, 3 + int(side > 280), count)
    for i in range(count):
        step = np.array([np.cos(lean[i]), -np.sin(lean[i])]) * length[i]
        middle = foot[i] + 0.5 * step
        tip = foot[i] + step + np.array([bend[i] * length[i], 0])
        points = [tuple(foot[i]), tuple(middle), tuple(tip)]
        pen.line(points, fill=tuple(tones[i].tolist()), width=int(width[i]), joint="curve")
    return sheet


def _gravel(rng: np.random.Generator, side: int) -> Image.Image:
    """Pebbles or coral knobs, lit from one side."""
    count = 1500
    tones = _tones(rng, count)
    sheet = Image.new("RGB", (side, side), tuple(int(v) for v in 0.7 * tones.mean(0)))
    pen = ImageDraw.Draw(sheet)
    centre = rng.uniform(-0.02, 1.02, (count, 2)) * side
    radius = np.sort(side * rng.uniform(0.01, 0.022) * np.exp(rng.normal(0, 0.4, count)))[::-1]
    squash = rng.uniform(0.6, 1.4, count)
    for (x, y), r, flat, tone in zip(centre, radius, squash, tones, strict=True):
        for scale, shade in ((1.0, 0.55), (0.85, 1.0), (0.4, 1.2)):
            a, b, move = scale * r * flat, scale * r / flat, (1 - scale) * 0.4 * r
            box = [x - a - move, y - b - move, x + a - move, y + b - move]
            fill = tuple(np.clip(tone * shade, 0, 255).astype(int).tolist())
            pen.ellipse(box, fill=fill)
    return sheet


_TEXTURES: tuple[Callable[[np.random.Generator, int], Image.Image], ...] = (
    _bark,
    _lichen,
    _leaves,
    _grass,
    _gravel,
)
