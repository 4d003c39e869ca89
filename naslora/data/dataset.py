"""Prepared samples as tensors."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import features
from torch import Tensor
from torch.utils.data import Dataset

from naslora.core.errors import ManifestError
from naslora.core.files import fingerprint, sha256
from naslora.data import images, masks
from naslora.data.benchmarks.contract import Benchmark, get_benchmark
from naslora.data.images import read_image, resized, resized_labels
from naslora.data.manifest import Manifest, ManifestSample
from naslora.data.masks import IGNORE
from naslora.data.resized import resized_images

Pair = tuple[Tensor, Tensor]


class SegmentationDataset(Dataset[Pair]):
    """One split of a prepared task, resized to a square.

    An item is an image uint8 (3, S, S), resized bilinearly with antialiasing, and its labels uint8
    (S, S), resized by nearest neighbour; void pixels are `IGNORE`. With a folder `cache`, all files
    are decoded when the data set is created, and the result is kept there in one file, which other
    data sets of the same images share. Without one, a file is read when its item is requested.

    Raises:
        ManifestError: there is no such split; with a cache, also if a file is missing or is not
            the one that was prepared.
        AuditError: with a cache, a file does not decode.
    """

    def __init__(
        self,
        manifest: Manifest,
        root: Path,
        split: str,
        image_size: int,
        cache: Path | None = None,
    ):
        self.samples: list[ManifestSample] = manifest.of(split)
        self.root = root
        self.image_size = image_size
        self._benchmark = get_benchmark(manifest.task)
        self._cached = None
        if cache is not None:
            self._cached = resized_images(
                cache / f"{split}-{image_size}.pixels",
                self.key(),
                len(self.samples),
                (4, image_size, image_size),
                self._verified,
            )

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Pair:
        """Image and labels.

        Raises:
            ManifestError, AuditError: the file is not there, or is damaged.
        """
        stack = self._load(index) if self._cached is None else self._cached[index]
        pixels = torch.from_numpy(stack)
        return pixels[:3], pixels[3]

    def native_mask(self, index: int) -> NDArray[np.uint8]:
        """Labels uint8 (H, W) in the mask's own size.

        Raises:
            ManifestError, AuditError: the file is not there, or does not decode.
        """
        return self._benchmark.read_mask(self.root / self.samples[index].mask)

    def native_image(self, index: int) -> NDArray[np.uint8]:
        """Image uint8 (H, W, 3) in its own size.

        Raises:
            ManifestError, AuditError: the file is not there, or does not decode.
        """
        return np.asarray(read_image(self.root / self.samples[index].image), np.uint8)

    def labels(self, index: int) -> NDArray[np.uint8]:
        """Labels uint8 (S, S), as an item has them, without reading the image.

        Raises:
            ManifestError, AuditError: the file is not there, or does not decode.
        """
        return resized_labels(self.native_mask(index), self.image_size)

    def _load(self, index: int) -> NDArray[np.uint8]:
        """Image and labels in one array, uint8 (4, S, S)."""
        image = read_image(self.root / self.samples[index].image)
        stack = np.empty((4, self.image_size, self.image_size), np.uint8)
        stack[:3] = resized(image, self.image_size).transpose(2, 0, 1)
        stack[3] = self.labels(index)
        return stack

    def _verified(self, index: int) -> NDArray[np.uint8]:
        """As `_load`, with a check that the files are those that were prepared."""
        stack = self._load(index)
        sample = self.samples[index]
        for name, digest in (
            (sample.image, sample.image_sha256),
            (sample.mask, sample.mask_sha256),
        ):
            if sha256(self.root / name) != digest:
                raise ManifestError(
                    "this file is not the one that was prepared",
                    where=self.root / name,
                    remedy="prepare the task again",
                )
        return stack

    def key(self) -> str:
        """A fingerprint of all that the pixels depend on: files, size, code, decoder versions."""
        return fingerprint(
            {
                "files": [[s.image_sha256, s.mask_sha256] for s in self.samples],
                "size": self.image_size,
                "code": _sources(self._benchmark),
                "pillow": features.version("pil"),
                "jpeg": features.version("libjpeg_turbo") or features.version("jpg"),
                "tiff": features.version("libtiff"),
            }
        )


def _sources(benchmark: Benchmark) -> list[str]:
    """The source code that turns a benchmark's files into pixels and labels."""
    shared = [Path(inspect.getfile(m)) for m in (images, masks, Benchmark, SegmentationDataset)]
    own = [Path(inspect.getfile(kind)) for kind in type(benchmark).__mro__[:-1]]
    paths = dict.fromkeys([*shared, *own])
    return [path.read_text(encoding="utf-8") for path in paths]


def mean_mask(
    manifest: Manifest, root: Path, size: int, split: str = "train"
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """For each class and pixel, the share of a split's masks in which the pixel has that class.

    Masks are resized to a square, and void pixels do not count.

    Returns:
        The shares, float32 in [0, 1]: (size, size) of the foreground for a binary task, else
        (K, size, size) for K classes with the background. And (size, size), the number of masks in
        which a pixel is not void; where it is 0, the shares are 0.

    Raises:
        ManifestError, AuditError: a file is not there, or does not decode.
    """
    benchmark = get_benchmark(manifest.task)
    binary = len(manifest.classes) == 1
    classes = np.arange(1, 2) if binary else np.arange(len(manifest.classes))
    counts = np.zeros((len(classes), size, size), np.int64)
    total = np.zeros((size, size), np.int64)
    for sample in manifest.of(split):
        labels = resized_labels(benchmark.read_mask(root / sample.mask), size)
        counts += labels == classes[:, None, None]
        total += labels != IGNORE
    mean = (counts / np.maximum(total, 1)).astype(np.float32)
    return np.asarray(mean[0] if binary else mean, np.float32), total
