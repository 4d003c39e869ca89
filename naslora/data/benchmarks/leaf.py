"""Leaf Disease Segmentation: diseased parts of leaves (Rath, 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from naslora.data.benchmarks.contract import (
    Benchmark,
    Listing,
    Sample,
    folder_with,
    joined,
    pair_files,
    register_benchmark,
)
from naslora.data.benchmarks.splits import by_part
from naslora.data.masks import Labels, PaletteMask
from naslora.synthetic import foliage, generator

# Folders are named after the set's own parts.
_PARTS = {"train": "train", "test": "valid"}
_PALETTE = (0, 0, 0, 128, 0, 0)


@register_benchmark
class Leaf(Benchmark):
    """Pairs `orig_data/{train,valid}_images/<n>.jpg`, `..._masks/<n>.png`, palette masks of 0, 1.

    Appendix B: 498 for training and 90 for testing. These are the numbers of the set's two parts,
    train and valid, so the paper tests on valid, and no image is left for validation. The archive's
    other tree holds augmented copies of the same images, those of valid too, and is left out.
    """

    name = "leaf"
    title = "Leaf"
    archives = ("leaf_disease",)
    classes = ("disease",)
    metrics = ("IoU", "Dice", "Acc")
    masks = PaletteMask(classes=2)
    expected = {"train": 498, "val": 0, "test": 90}  # noqa: RUF012

    def samples(self, root: Path) -> Listing:
        top = folder_with(root / "leaf_disease", "orig_data")
        folder = top / "orig_data"
        found = joined(
            pair_files(
                root,
                folder / f"{name}_images",
                folder / f"{name}_masks",
                {".jpg"},
                part,
                mask_suffixes={".png"},
            )
            for part, name in _PARTS.items()
        )
        copies = (path.relative_to(root).as_posix() for path in top.glob("aug*/**/*"))
        return Listing(found.samples, found.findings, dict.fromkeys(copies, "augmented copies"))

    def split(self, samples: Sequence[Sample], seed: int) -> dict[str, list[str]]:
        return by_part(samples, tuple(self.expected))

    def draw(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], Labels]:
        return foliage.draw_diseased_leaf(rng)

    def generate(self, folder: Path, count: int, seed: int) -> list[Path]:
        def files() -> generator.Files:
            drawn = dict.fromkeys(_PARTS, 0)
            for part, rng in generator.part_streams(seed, count, self.expected):
                image, labels = self.draw(rng)
                id_ = _id(part, drawn[part])
                drawn[part] += 1
                yield from _pair("orig_data", part, id_, image, labels)
                # A mirrored copy in the tree that is left out.
                yield from _pair("aug_data", part, f"{id_}_0", image[:, ::-1], labels[:, ::-1])

        path = folder / "leaf-disease-segmentation.zip"
        generator.write_zip(path, files(), f"generated: leaf, {count} images, seed {seed}")
        return [path]


def _id(part: str, index: int) -> str:
    """Every sixth number is one of valid, as in the official set."""
    return f"{index + index // 5 if part == 'train' else 6 * index + 5:05}"


def _pair(
    tree: str, part: str, id_: str, image: NDArray[np.uint8], labels: Labels
) -> generator.Files:
    mask = Image.fromarray(labels).convert("P")
    mask.putpalette(_PALETTE)
    folder = f"{tree}/{_PARTS[part]}"
    yield f"{folder}_images/{id_}.jpg", generator.jpeg(Image.fromarray(image), 92)
    yield f"{folder}_masks/{id_}.png", generator.png(mask)
