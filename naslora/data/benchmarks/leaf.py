"""Leaf Disease Segmentation: diseased parts of leaves (Rath, 2023)."""

from __future__ import annotations

from pathlib import Path

from naslora.data.benchmarks.contract import Benchmark, register_benchmark
from naslora.data.benchmarks.listing import Listing, folder_with, joined, pair_files
from naslora.data.masks import PaletteMask

# Folders are named after the set's own parts.
_PARTS = {"train": "train", "test": "valid"}


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
