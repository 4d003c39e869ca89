"""Generated archive of Leaf Disease Segmentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from naslora.synthetic import foliage
from naslora.synthetic.archive import Files, write_zip
from naslora.synthetic.encoding import jpeg, png
from naslora.synthetic.fields import Drawing, Labels
from naslora.synthetic.streams import part_streams

_PARTS = {"train": "train", "test": "valid"}
_SHARES = {"train": 3, "val": 0, "test": 1}  # more for the test than the official 90 of 588
_PALETTE = (0, 0, 0, 128, 0, 0)


def draw(rng: np.random.Generator) -> Drawing:
    """Draw a leaf with diseased parts."""
    return foliage.draw_diseased_leaf(rng)


def generate(folder: Path, count: int, seed: int) -> list[Path]:
    """Write the tree `orig_data`, and `aug_data` with mirrored copies; masks have a palette."""

    def files() -> Files:
        drawn = dict.fromkeys(_PARTS, 0)
        for part, rng in part_streams(seed, count, _SHARES):
            image, labels = draw(rng)
            id_ = _id(part, drawn[part])
            drawn[part] += 1
            yield from _pair("orig_data", part, id_, image, labels)
            yield from _pair("aug_data", part, f"{id_}_0", image[:, ::-1], labels[:, ::-1])

    path = folder / "leaf-disease-segmentation.zip"
    write_zip(path, files(), f"generated: leaf, {count} images, seed {seed}")
    return [path]


def _id(part: str, index: int) -> str:
    """Every sixth number is one of valid, as in the official set."""
    return f"{index + index // 5 if part == 'train' else 6 * index + 5:05}"


def _pair(tree: str, part: str, id_: str, image: NDArray[np.uint8], labels: Labels) -> Files:
    mask = Image.fromarray(labels).convert("P")
    mask.putpalette(_PALETTE)
    folder = f"{tree}/{_PARTS[part]}"
    yield f"{folder}_images/{id_}.jpg", jpeg(Image.fromarray(image), 92)
    yield f"{folder}_masks/{id_}.png", png(mask)
