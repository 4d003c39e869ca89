"""How many pixels each class has, and how many classes are in one image at most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from naslora.core.errors import SettingsError
from naslora.data.benchmarks.contract import get_benchmark
from naslora.data.manifest import Manifest
from naslora.data.masks import IGNORE


@dataclass(frozen=True)
class ClassCounts:
    """Counts over a split; void pixels are not counted.

    Attributes:
        pixels: of each class, the background first (also for a binary task).
        images: in which each class occurs.
        most_in_one_image: the largest number of classes in one image, the background among them.
    """

    pixels: tuple[int, ...]
    images: tuple[int, ...]
    most_in_one_image: int

    def weights(self) -> NDArray[np.float64]:
        """Weights (K,) of the classes in a loss, of mean 1 over the classes that occur.

        Median frequency balancing (Eigen and Fergus, 2015): the median over classes of how large a
        share of its images a class takes, divided by the class's own share. A class without pixels
        has weight 0.
        """
        pixels, images = np.array(self.pixels, float), np.array(self.images, float)
        share = np.divide(pixels, images, out=np.zeros_like(pixels), where=images > 0)
        there = share > 0
        weights = np.zeros_like(share)
        weights[there] = np.median(share[there]) / share[there]
        return np.asarray(weights / weights[there].mean())


def count_classes(manifest: Manifest, root: Path, split: str = "train") -> ClassCounts:
    """Count the classes in a split's masks, at their own size.

    Raises:
        ManifestError, AuditError: a mask is not there, or does not decode.
    """
    benchmark = get_benchmark(manifest.task)
    number = max(len(manifest.classes), 2)
    pixels, images = np.zeros(number, np.int64), np.zeros(number, np.int64)
    most = 0
    for sample in manifest.of(split):
        labels = benchmark.read_mask(root / sample.mask)
        found = np.bincount(labels[labels != IGNORE], minlength=number)
        pixels += found
        images += found > 0
        most = max(most, int(np.count_nonzero(found)))
    return ClassCounts(tuple(pixels.tolist()), tuple(images.tolist()), most)


def check_mask_tokens(classes: Sequence[str], most_in_one_image: int, tokens: int) -> None:
    """Refuse a decoder with fewer mask tokens than there are classes in one image.

    A token predicts one class, so further classes would get neither a mask nor a loss. A binary
    task needs one token.

    Raises:
        SettingsError: there are too few.
    """
    if len(classes) > 1 and tokens < most_in_one_image:
        raise SettingsError(
            f"up to {most_in_one_image} classes are in one image, but sam.mask_tokens is {tokens}: "
            "the others would get neither a mask nor a loss",
            remedy=f"set sam.mask_tokens to {most_in_one_image} or more",
        )
