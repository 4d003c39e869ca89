"""CVC-ClinicDB: polyps in frames of colonoscopy videos (Bernal et al., 2015)."""

from __future__ import annotations

from pathlib import Path

from naslora.data.benchmarks.contract import Benchmark, register_benchmark
from naslora.data.benchmarks.listing import Listing, folder_with, pair_files
from naslora.data.masks import GreyMask


@register_benchmark
class CVCClinicDB(Benchmark):
    """612 pairs `Original/<n>.tif`, `Ground Truth/<n>.tif`, without an official split.

    Appendix B: 90 % for training and 10 % for testing, with 20 % of the training set used for
    validation; PraNet, which it follows, rounds to 550 and 62. The frames come from about 30
    videos, so that a split by frames puts nearly identical ones on both sides. Masks have grey
    pixels, thresholded at 128, where the outline of a polyp crosses the border of the view.
    """

    name = "cvc_clinicdb"
    title = "CVC-ClinicDB"
    archives = ("cvc_clinicdb",)
    classes = ("polyp",)
    metrics = ("S_measure", "E_measure", "weighted_F", "IoU", "Dice")
    masks = GreyMask(threshold=128)
    expected = {"train": 440, "val": 110, "test": 62}  # noqa: RUF012

    def samples(self, root: Path) -> Listing:
        folder = folder_with(root / "cvc_clinicdb", "Original/*", "Ground Truth/*")
        images, masks = folder / "Original", folder / "Ground Truth"
        return pair_files(root, images, masks, {".tif", ".tiff"})
