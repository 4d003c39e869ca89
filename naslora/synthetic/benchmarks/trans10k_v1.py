"""Generated archive of Trans10K, first edition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from naslora.synthetic.archive import write_zip
from naslora.synthetic.fields import Drawing, Labels
from naslora.synthetic.glass.archive import Edition, files
from naslora.synthetic.glass.scene import KINDS, draw_glass

# Vessels, and the eyeglass, are things; what closes a room or a case is stuff (Trans2Seg, sec. 3).
_THINGS = ("jar or tank", "eyeglass", "cup", "glass bowl", "water bottle")
# Labels by kind of object: background, then 1 for a thing and 2 for stuff.
_OF_KIND = np.array([0, *(1 if kind in _THINGS else 2 for kind in KINDS)], np.uint8)
_COLOURS = np.array([(0, 0, 0), (255, 0, 0), (255, 255, 255)], np.uint8)


def draw(rng: np.random.Generator) -> Drawing:
    """Draw a room with transparent things (1) and stuff (2)."""
    image, kinds = draw_glass(rng)
    return image, _OF_KIND[kinds]


def generate(folder: Path, count: int, seed: int) -> list[Path]:
    """Write RGB masks: black is background, red a thing, white is stuff."""
    path = folder / "Trans10K.zip"
    mark = f"generated: trans10k_v1, {count} images, seed {seed}"
    write_zip(path, files(_EDITION, count, seed), mark)
    return [path]


def _encode_mask(kinds: Labels) -> Image.Image:
    return Image.fromarray(_COLOURS[_OF_KIND[kinds]])


_EDITION = Edition(
    "Trans10K",
    "masks",
    {"train": 6, "validation/easy": 1, "validation/hard": 1, "test/easy": 2, "test/hard": 2},
    _encode_mask,
)
