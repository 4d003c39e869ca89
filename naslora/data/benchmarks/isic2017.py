"""ISIC 2017: skin lesions in dermoscopy images (Codella et al., 2018)."""

from __future__ import annotations

from pathlib import Path

from naslora.data.benchmarks.contract import Benchmark, register_benchmark
from naslora.data.benchmarks.listing import Listing, folder_with, joined, pair_files
from naslora.data.masks import GreyMask

_PARTS = ("train", "val", "test")
_LEFT_OUT = {
    "*_superpixels.png": "superpixels, for another task of the challenge",
    "*.csv": "age and sex of the patients",
}


@register_benchmark
class ISIC2017(Benchmark):
    """Pairs `ISIC_<n>.jpg`, `ISIC_<n>_segmentation.png` in two archives for each official part.

    Appendix B: 2000 for training, 150 for validation and 600 for testing, which are the official
    parts. The archives of images also hold superpixels and a table, which are left out.
    """

    name = "isic2017"
    title = "ISIC 2017"
    may_be_shown = True
    archives = (
        "isic2017_train_data",
        "isic2017_train_masks",
        "isic2017_val_data",
        "isic2017_val_masks",
        "isic2017_test_data",
        "isic2017_test_masks",
    )
    classes = ("lesion",)
    metrics = ("IoU", "T_Jac", "Dice", "Acc")
    masks = GreyMask(threshold=128)
    expected = {"train": 2000, "val": 150, "test": 600}  # noqa: RUF012

    def samples(self, root: Path) -> Listing:
        found: list[Listing] = []
        for part in _PARTS:
            images = folder_with(root / f"isic2017_{part}_data", "ISIC_*.jpg")
            masks = folder_with(root / f"isic2017_{part}_masks", "ISIC_*_segmentation.png")
            pairs = pair_files(
                root, images, masks, {".jpg"}, part, "_segmentation", mask_suffixes={".png"}
            )
            left_out = {
                path.relative_to(root).as_posix(): why
                for pattern, why in _LEFT_OUT.items()
                for path in images.glob(pattern)
            }
            found.append(Listing(pairs.samples, pairs.findings, left_out))
        return joined(found)
