"""Massachusetts Roads: aerial images (Mnih, 2013)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from naslora.data.benchmarks.contract import Benchmark, CountException, register_benchmark
from naslora.data.benchmarks.listing import (
    Finding,
    Listing,
    Sample,
    folder_with,
    joined,
    pair_files,
)
from naslora.data.masks import GreyMask, Labels

_PARTS = ("train", "val", "test")
# White is 255 in all channels, up to JPEG artefacts. Roofs and snow cover less than 0.5 % of an
# image, missing imagery far more.
_WHITE = 250
_WHITE_SHARE = 0.01


@register_benchmark
class Road(Benchmark):
    """`tiff/{train,val,test}/*.tiff` and `tiff/{train,val,test}_labels/*.tif`, 1500 px squares.

    Split as published. Where imagery is missing the images are white, in places with roads in the
    labels: the audit lists each such image with its share of white, and none is dropped. Kaggle's
    archive also holds tables and PNG copies, which are left out.
    """

    name = "road"
    title = "Road"
    may_be_shown = True
    archives = ("massachusetts_roads",)
    classes = ("road",)
    metrics = ("IoU", "Dice")
    masks = GreyMask(threshold=128)
    expected = {"train": 1108, "val": 14, "test": 49}  # noqa: RUF012
    count_exception = CountException(
        {"train": 1107, "val": 13, "test": 48},
        "the paper is one short in each split and does not say which images it lacks; "
        "all that were published are used here",
    )

    def samples(self, root: Path) -> Listing:
        folder = folder_with(root / "massachusetts_roads", "train/*.tiff", "train_labels/*.tif")
        suffixes = {".tif", ".tiff"}
        return joined(
            pair_files(root, folder / part, folder / f"{part}_labels", suffixes, part)
            for part in _PARTS
        )

    def remarks(self, sample: Sample, image: Image.Image, labels: Labels) -> list[Finding]:
        """A finding for an image of which more than 1 % is white."""
        white = (np.asarray(image) >= _WHITE).all(axis=2)
        share = float(white.mean())
        if share <= _WHITE_SHARE:
            return []
        roads = float(labels[white].sum()) / max(int(labels.sum()), 1)
        item = f"{sample.image} ({share:.1%} white, with {roads:.1%} of the road pixels)"
        return [Finding("white", "oddity", "white where imagery is missing", [item])]
