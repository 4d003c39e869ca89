"""The order and augmentation of training images, a function of seed and epoch only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from naslora.core.errors import SettingsError
from naslora.core.wording import counted
from naslora.data.dataset import SegmentationDataset
from naslora.training.resume.signals import ignore_stop_signals


class EpochSampler(Sampler[tuple[int, bool]]):
    """Yields (index, flip) pairs: each epoch a permutation of `indices` and a draw of flips.

    Both come from a generator seeded with (seed, epoch), so that an epoch is the same whatever
    ran before it and however many processes share it. Processes take turns; the last ones repeat
    an image if the number of images is not divisible by that of processes.

    Attributes:
        epoch: the next epoch, counted from 1.
        skip: how many of the epoch's pairs this process skips, since it has had them.
    """

    def __init__(
        self,
        indices: Sequence[int],
        *,
        seed: int,
        horizontal_flip: float,
        rank: int = 0,
        world_size: int = 1,
    ):
        self._indices = np.asarray(indices)
        self._seed = seed
        self._horizontal_flip = horizontal_flip
        self._rank = rank
        self._world_size = world_size
        self.epoch = 1
        self.skip = 0

    def __len__(self) -> int:
        return -(-len(self._indices) // self._world_size)

    def __iter__(self) -> Iterator[tuple[int, bool]]:
        generator = np.random.Generator(np.random.PCG64([self._seed, self.epoch]))
        order = generator.permutation(self._indices)
        flips = generator.random(len(order)) < self._horizontal_flip
        mine = np.arange(self._rank, len(self) * self._world_size, self._world_size) % len(order)
        for position in mine[self.skip :]:
            yield int(order[position]), bool(flips[position])


def halves(count: int, seed: int) -> tuple[list[int], list[int]]:
    """Two random halves of `count` indices; neighbours in a manifest are often alike.

    Raises:
        SettingsError: `count` is below 2.
    """
    if count < 2:
        raise SettingsError(
            f"training.architecture.data is held_out, which cannot split {counted(count, 'image')}"
            " into two halves",
            remedy="set it to batch",
        )
    # Epochs count from 1, so no epoch's order comes from this generator.
    order = np.random.Generator(np.random.PCG64([seed, 0])).permutation(count).tolist()
    return sorted(order[: count // 2]), sorted(order[count // 2 :])


class FlippedImages(Dataset[tuple[Tensor, Tensor]]):
    """A view of a data set that is indexed by (index, flip) pairs."""

    def __init__(self, images: SegmentationDataset):
        self._images = images

    def __getitem__(self, key: tuple[int, bool]) -> tuple[Tensor, Tensor]:
        index, flip = key
        image, mask = self._images[index]
        return (image.flip(-1), mask.flip(-1)) if flip else (image, mask)


def training_loader(
    samples: Dataset[tuple[Tensor, Tensor]],
    sampler: EpochSampler,
    *,
    batch_size: int,
    workers: int,
    pin_memory: bool = False,
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Batches of samples that are indexed by (index, flip) pairs, in the sampler's order.

    Those of `FlippedImages` are images (B, 3, S, S) and labels (B, S, S), both uint8. With pinned
    memory, copies to a GPU run in the background.
    """
    return DataLoader(
        samples,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
        worker_init_fn=ignore_stop_signals,
        # Not the global generator: what dropout draws from it must not depend on `workers`.
        generator=torch.Generator().manual_seed(0),
        pin_memory=pin_memory,
    )
