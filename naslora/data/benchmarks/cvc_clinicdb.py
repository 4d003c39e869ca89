"""CVC-ClinicDB: polyps in frames of colonoscopy videos (Bernal et al., 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy
from numpy.typing import NDArray
from PIL import Image

from naslora.data.benchmarks.contract import (
    Benchmark,
    Listing,
    Sample,
    folder_with,
    pair_files,
    register_benchmark,
)
from naslora.data.benchmarks.splits import hold_out
from naslora.data.masks import GreyMask, Labels
from naslora.synthetic import endoscopy, generator

_TEST_SHARE = 62 / 612
_VAL_SHARE = 0.2


@register_benchmark
class CVCClinicDB(Benchmark):
    """612 pairs `Original/<n>.tif`, `Ground Truth/<n>.tif`, without an official split.

    Appendix B: 90 % for training and 10 % for testing, with 20 % of the training set used for
    validation; PraNet, which it follows, rounds to 550 and 62. The frames come from about 30
    videos, so that a split by frames puts almost equal ones on both sides. Masks have grey pixels
    where the outline of a polyp runs over the border of the view, thresholded at 128.
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

    def split(self, samples: Sequence[Sample], seed: int) -> dict[str, list[str]]:
        rest, test = hold_out((sample.id for sample in samples), _TEST_SHARE, seed)
        train, val = hold_out(rest, _VAL_SHARE, seed)
        return {"train": train, "val": val, "test": test}

    def draw(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], Labels]:
        return endoscopy.draw_polyps(rng, endoscopy.CLINIC)

    def generate(self, folder: Path, count: int, seed: int) -> list[Path]:
        def files() -> generator.Files:
            for index, rng in enumerate(generator.streams(seed, count), start=1):
                image, labels = self.draw(rng)
                original = generator.tiff(Image.fromarray(image), "jpeg")
                truth = generator.tiff(Image.fromarray(_overrun(image, labels)), "tiff_lzw")
                yield f"CVC-ClinicDB/Original/{index}.tif", original
                yield f"CVC-ClinicDB/Ground Truth/{index}.tif", truth

        path = folder / "CVC-ClinicDB.zip"
        generator.write_zip(path, files(), f"generated: cvc_clinicdb, {count} images, seed {seed}")
        return [path]


def _overrun(image: NDArray[np.uint8], labels: Labels) -> NDArray[np.uint8]:
    """A mask as official ones are: an outline on the dark border takes on the border's grey."""
    grey = image.max(axis=2)
    near = scipy.ndimage.binary_dilation(labels, iterations=8) & (grey < 24)
    return np.where(near & (labels == 0), grey, labels * np.uint8(255)).astype(np.uint8)
