"""Trans10K, first edition: transparent things and stuff (Xie et al., 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from naslora.data.benchmarks.contract import register_benchmark
from naslora.data.benchmarks.trans10k import Trans10K
from naslora.data.masks import DecodedMask, Labels


@dataclass(frozen=True)
class MeanColourMask:
    """Colour masks whose labels are identified by the mean of a pixel's channels, as in TransLab.

    Attributes:
        sums: of each label in order, the sum of red, green and blue.
    """

    sums: tuple[int, ...]

    def decode(self, mask: Image.Image) -> DecodedMask:
        if mask.mode not in ("L", "P", "RGB", "RGBA"):
            empty = np.zeros((mask.height, mask.width), np.uint8)
            return DecodedMask(empty, 0.0, f"pixels are stored as {mask.mode}, not as colours")
        total = np.asarray(mask.convert("RGB"), np.uint16).sum(axis=2)
        labels = np.zeros(total.shape, np.uint8)
        unknown = np.ones(total.shape, bool)
        for label, sum_ in enumerate(self.sums):
            here = total == sum_
            labels[here] = label
            unknown &= ~here
        problem = None
        if unknown.any():
            means = ", ".join(f"{value / 3:.0f}" for value in np.unique(total[unknown])[:5])
            known = ", ".join(f"{sum_ / 3:.0f}" for sum_ in self.sums)
            problem = f"pixels of mean {means}, where only {known} are known"
        return DecodedMask(labels, float(unknown.mean()), problem)

    def encode(self, labels: Labels) -> Image.Image:
        return Image.fromarray(np.array([sum_ // 3 for sum_ in self.sums], np.uint8)[labels])


@register_benchmark
class Trans10KV1(Trans10K):
    """Three classes; test sets easy and hard, which together are Appendix B's 4428 images.

    Masks are RGB: black is background, a mean of 85 (red) a thing, white is stuff. The archive
    divides validation by difficulty as well; here it is one set.
    """

    name = "trans10k_v1"
    title = "Trans10K-v1"
    archives = ("trans10k_v1",)
    classes = ("background", "things", "stuff")
    test_sets = ("easy", "hard")
    metrics = (
        "Acc_foreground",
        "mIoU_foreground",
        "MAE",
        "mBER",
        "Acc",
        "mIoU",
        "IoU_background",
        "IoU_things",
        "IoU_stuff",
    )
    masks = MeanColourMask((0, 255, 765))
    expected = {"train": 5000, "val": 1000, "easy+hard": 4428}  # noqa: RUF012

    mask_folder = "masks"
    places = {  # noqa: RUF012
        "train": "train",
        "validation/easy": "val",
        "validation/hard": "val",
        "test/easy": "easy",
        "test/hard": "hard",
    }
