"""Prepared samples as tensors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from naslora.data.benchmark import get_benchmark
from naslora.data.images import read_image, resized, resized_labels
from naslora.data.manifest import Manifest, ManifestSample

CACHE_BYTES = 1 << 30
_THREADS = 4
Pair = tuple[Tensor, Tensor]


class SegmentationDataset(Dataset[Pair]):
    """One split of a prepared task, resized to a square.

    An item is an image uint8 (3, S, S), resized bilinearly with antialiasing, and its labels uint8
    (S, S), resized by nearest neighbour. When the whole split fits into `cache_bytes` at this
    size, it is decoded once, here, and kept in memory; workers that are forked share it.

    Raises:
        ManifestError: there is no such split, or a file is not there.
        AuditError: a file does not decode. Without the cache, both may come with an item.
    """

    def __init__(
        self,
        manifest: Manifest,
        root: Path,
        split: str,
        image_size: int,
        cache: bool = True,
        cache_bytes: int = CACHE_BYTES,
    ):
        self.samples: list[ManifestSample] = manifest.of(split)
        self.root = root
        self.image_size = image_size
        self._benchmark = get_benchmark(manifest.task)
        self._cached: list[Pair] | None = None
        if cache and 4 * image_size**2 * len(self.samples) <= cache_bytes:
            with ThreadPoolExecutor(_THREADS) as pool:
                self._cached = list(pool.map(self._load, range(len(self.samples))))

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Pair:
        """Image and labels; the caller must not write into them."""
        return self._cached[index] if self._cached is not None else self._load(index)

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

    def _load(self, index: int) -> Pair:
        image = read_image(self.root / self.samples[index].image)
        pixels = resized(image, self.image_size).transpose(2, 0, 1)
        labels = resized_labels(self.native_mask(index), self.image_size)
        return torch.from_numpy(pixels.copy()), torch.from_numpy(labels.copy())


def mean_mask(
    manifest: Manifest, root: Path, size: int, split: str = "train"
) -> NDArray[np.float32]:
    """How often each pixel of a split's masks, resized to a square, belongs to each class.

    Returns:
        float32 in [0, 1]: (size, size) of the foreground for a binary task, else
        (K, size, size) for K classes with the background.

    Raises:
        ManifestError, AuditError: a file is not there, or does not decode.
    """
    benchmark = get_benchmark(manifest.task)
    binary = len(manifest.classes) == 1
    wanted = np.arange(1, 2) if binary else np.arange(len(manifest.classes))
    counts = np.zeros((len(wanted), size, size), np.int64)
    samples = manifest.of(split)
    for sample in samples:
        labels = resized_labels(benchmark.read_mask(root / sample.mask), size)
        counts += labels == wanted[:, None, None]
    mean = (counts / len(samples)).astype(np.float32)
    return np.asarray(mean[0] if binary else mean, np.float32)
