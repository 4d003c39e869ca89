"""Massachusetts Roads: aerial images (Mnih, 2013)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from naslora.data.benchmarks.contract import (
    Benchmark,
    CountException,
    Finding,
    Listing,
    Sample,
    folder_with,
    joined,
    pair_files,
    register_benchmark,
)
from naslora.data.benchmarks.splits import by_part
from naslora.data.masks import GreyMask, Labels
from naslora.synthetic import aerial, generator

_PARTS = ("train", "val", "test")
# White is 255 in all channels, give or take what JPEG does to it. Roofs and snow together stay
# below half a per cent of an image; where imagery is missing, it is far more.
_WHITE = 250
_WHITE_SHARE = 0.01
# How generated images are shared out; of 63 official ones that are not for training, 14 are `val`.
_SHARES = {"train": 6, "val": 1, "test": 2}
_CLASSES = "name,r,g,b\nbackground,0,0,0\nroad,255,255,255\n"


@register_benchmark
class Road(Benchmark):
    """`tiff/{train,val,test}/*.tiff` and `tiff/{train,val,test}_labels/*.tif`, 1500 px squares.

    Split as published. Where imagery is missing the images are white, in places with roads in the
    labels: the audit lists each such image with its share of white, and none is dropped. Kaggle's
    archive also holds tables and PNG copies, which are left out.
    """

    name = "road"
    title = "Road"
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

    def split(self, samples: Sequence[Sample], seed: int) -> dict[str, list[str]]:
        return by_part(samples, _PARTS)

    def remarks(self, sample: Sample, image: Image.Image, labels: Labels) -> list[Finding]:
        """A finding for an image of which more than 1 % is white."""
        white = (np.asarray(image) >= _WHITE).all(axis=2)
        share = float(white.mean())
        if share <= _WHITE_SHARE:
            return []
        roads = float(labels[white].sum()) / max(int(labels.sum()), 1)
        item = f"{sample.image} ({share:.1%} white, with {roads:.1%} of the road pixels)"
        return [Finding("white", "oddity", "white where imagery is missing", [item])]

    def draw(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], Labels]:
        return aerial.draw_roads(rng)

    def generate(self, folder: Path, count: int, seed: int) -> list[Path]:
        path = folder / "massachusetts-roads.zip"
        mark = f"generated: road, {count} images, seed {seed}"
        generator.write_zip(path, self._files(count, seed), mark)
        return [path]

    def _files(self, count: int, seed: int) -> generator.Files:
        table = ["image_id,split,tiff_image_path,tif_label_path"]
        numbers = dict.fromkeys(_SHARES, 0)
        for part, rng in generator.part_streams(seed, count, _SHARES):
            image, labels = self.draw(rng)
            stem = _tile(part, numbers[part])
            numbers[part] += 1
            picture, mask = f"tiff/{part}/{stem}.tiff", f"tiff/{part}_labels/{stem}.tif"
            table.append(f"{stem},{part},{picture},{mask}")
            yield picture, generator.tiff(Image.fromarray(image), "jpeg")
            yield mask, generator.tiff(Image.fromarray(labels * np.uint8(255)), "tiff_lzw")
        yield "metadata.csv", "\n".join([*table, ""]).encode()
        yield "label_class_dict.csv", _CLASSES.encode()


def _tile(part: str, number: int) -> str:
    """The name of a generated tile: its place east and north in units of 100 m, 15 to a tile."""
    east, north = divmod(number, 60)
    column = len(_PARTS) * east + _PARTS.index(part)
    return f"{1007 + 15 * column:04}{8495 + 15 * north:04}_15"
