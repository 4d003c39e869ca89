"""Generated archive of Trans10K, second edition."""

from __future__ import annotations

import colorsys
from pathlib import Path

import numpy as np
from PIL import Image

from naslora.synthetic.archive import write_zip
from naslora.synthetic.fields import Drawing, Labels
from naslora.synthetic.glass.archive import Edition, files
from naslora.synthetic.glass.scene import KINDS, draw_glass


def draw(rng: np.random.Generator) -> Drawing:
    """Draw a room with transparent objects of eleven kinds."""
    return draw_glass(rng)


def generate(folder: Path, count: int, seed: int) -> list[Path]:
    """Write palette masks with the kinds' numbers."""
    path = folder / "Trans10K_cls12.zip"
    mark = f"generated: trans10k_v2, {count} images, seed {seed}"
    write_zip(path, files(_EDITION, count, seed), mark)
    return [path]


def _encode_mask(kinds: Labels) -> Image.Image:
    mask = Image.fromarray(kinds, "P")
    mask.putpalette(_palette())
    return mask


def _palette() -> list[int]:
    """Colours that viewers show masks in: black, then hues around the circle."""
    hues = [colorsys.hsv_to_rgb(i / len(KINDS), 0.8, 0.95) for i in range(len(KINDS))]
    return [0, 0, 0, *(round(255 * channel) for hue in hues for channel in hue)]


_EDITION = Edition(
    "Trans10K_cls12", "masks_12", {"train": 6, "validation": 1, "test": 3}, _encode_mask
)
