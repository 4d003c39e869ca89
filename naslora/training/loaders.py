"""The batches of a run: for the weights w, for alpha if it has its own, and for validation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from naslora.core.background import prefetch
from naslora.core.errors import SettingsError
from naslora.data.dataset import SegmentationDataset
from naslora.data.manifest import Manifest
from naslora.sam.building import Sam
from naslora.study.settings import RunSettings
from naslora.training.embeddings import EmbeddedImages, embedded_images
from naslora.training.order import EpochSampler, FlippedImages, halves, training_loader

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Batch = tuple[Tensor, Tensor]
# More than any number of epochs, so that a repeated pass never has the order of another epoch.
_PASSES = 1_000_000


@dataclass(frozen=True)
class EpochLoader:
    """Batches of some images, in an order that depends on the epoch."""

    loader: DataLoader[Batch]
    sampler: EpochSampler
    batch_size: int

    def __len__(self) -> int:
        """The number of batches per epoch."""
        return len(self.loader)

    def epoch(self, epoch: int, done: int = 0) -> Iterator[Batch]:
        """The epoch's batches, without the first `done`, whose images are not even read."""
        self.sampler.epoch, self.sampler.skip = epoch, done * self.batch_size
        yield from self.loader

    def endless(self, epoch: int, done: int = 0) -> Iterator[Batch]:
        """Like `epoch`, but endless: each pass over the images has another order."""
        passes, done = divmod(done, -(-len(self.sampler) // self.batch_size))
        while True:
            yield from self.epoch(epoch + passes * _PASSES, done)
            passes, done = passes + 1, 0


@dataclass(frozen=True)
class ValidationLoader:
    """Batches of validation images, the same each time.

    Attributes:
        samples: indexed by (index, flip) pairs.
        indices: of this process's images.
        batch_size: of the batches; the last one may be smaller.
        pin_memory: see `training_loader`.
    """

    samples: Dataset[Batch]
    indices: Sequence[int]
    batch_size: int
    pin_memory: bool = False

    def __iter__(self) -> Iterator[Batch]:
        starts = range(0, len(self.indices), self.batch_size)
        chosen = (self.indices[start : start + self.batch_size] for start in starts)
        return prefetch(self._batch(indices) for indices in chosen)

    def _batch(self, indices: Sequence[int]) -> Batch:
        images, labels = zip(*(self.samples[index, False] for index in indices), strict=True)
        batch = torch.stack(images), torch.stack(labels)
        return (batch[0].pin_memory(), batch[1].pin_memory()) if self.pin_memory else batch


@dataclass(frozen=True)
class Loaders:
    """Batches for the weights w and, unless None, for alpha and for validation."""

    weights: EpochLoader
    architecture: EpochLoader | None
    validation: ValidationLoader | None


def build_loaders(
    fabric: Fabric,
    run: RunSettings,
    manifest: Manifest,
    prepared: Path,
    cache: Path,
    sam: Sam,
    *,
    alpha_data: str,
) -> tuple[Loaders, SegmentationDataset]:
    """The batches of one process of a run.

    Args:
        fabric: gives this process's rank and the number of processes.
        run: the settings.
        manifest: of the task.
        prepared: folder of its images.
        cache: folder for files of resized images and of embeddings.
        sam: on its device. If its encoder is not trained, batches have embeddings (B, C, h, w)
            instead of images, unless that saves nothing.
        alpha_data: the setting `training.architecture.data`; "batch" for a method without alpha.

    Returns:
        The batches, and the training images.

    Raises:
        SettingsError: the processes cannot share a batch evenly, the settings need validation
            images and there are none, or there are too few training images to hold some out.
    """
    training = run.training
    if training.batch_size % fabric.world_size:
        raise SettingsError(
            f"training.batch_size {training.batch_size} is not divisible by"
            f" {fabric.world_size} processes",
            remedy=f"set it to a multiple of {fabric.world_size}",
        )
    batch_size = training.batch_size // fabric.world_size
    _check_validation(run, manifest, alpha_data)
    size = run.sam.image_size
    images = SegmentationDataset(manifest, prepared, "train", size, cache)
    validating = bool(training.validate_every_n_epochs and manifest.of("val"))
    validation = (
        SegmentationDataset(manifest, prepared, "val", size, cache)
        if validating or alpha_data == "val"
        else None
    )
    probability = training.horizontal_flip
    embedded = embedded_images(
        fabric,
        run,
        sam,
        images,
        cache / f"embedded-train-{size}.arrays",
        indices=range(len(images)),
        flips=[flip for flip, used in ((False, probability < 1), (True, probability > 0)) if used],
        passes=training.epochs,
    )

    def loader(dataset: SegmentationDataset, indices: Sequence[int]) -> EpochLoader:
        sampler = EpochSampler(
            indices,
            seed=run.seed,
            horizontal_flip=training.horizontal_flip,
            rank=fabric.global_rank,
            world_size=fabric.world_size,
        )
        samples = embedded if embedded and dataset is images else FlippedImages(dataset)
        batches = training_loader(
            samples,
            sampler,
            batch_size=batch_size,
            workers=training.workers,
            pin_memory=_pins(fabric),
        )
        return EpochLoader(batches, sampler, batch_size)

    for_weights: Sequence[int] = range(len(images))
    for_alpha = None
    if alpha_data == "held_out":  # as DARTS: one half for w, the other for alpha
        for_weights, others = halves(len(images), run.seed)
        for_alpha = loader(images, others)
    elif alpha_data == "val" and validation is not None:
        for_alpha = loader(validation, range(len(validation)))
    validation_loader = None
    if validating and validation is not None:
        validation_loader = _validation_loader(fabric, run, sam, validation, cache, batch_size)
    return Loaders(loader(images, for_weights), for_alpha, validation_loader), images


def _validation_loader(
    fabric: Fabric,
    run: RunSettings,
    sam: Sam,
    images: SegmentationDataset,
    cache: Path,
    batch_size: int,
) -> ValidationLoader:
    training = run.training
    count = min(len(images), training.validation_images or len(images))
    # Evenly spaced, since neighbours in a manifest are often alike.
    indices = np.linspace(0, len(images) - 1, count).round().astype(int).tolist()
    embedded: EmbeddedImages | None = embedded_images(
        fabric,
        run,
        sam,
        images,
        cache / f"embedded-val-{run.sam.image_size}.arrays",
        indices=indices,
        flips=[False],
        passes=training.epochs // training.validate_every_n_epochs,
    )
    mine = indices[fabric.global_rank :: fabric.world_size]
    samples = embedded or FlippedImages(images)
    return ValidationLoader(samples, mine, batch_size, _pins(fabric))


def _pins(fabric: Fabric) -> bool:
    return fabric.device.type == "cuda"


def _check_validation(run: RunSettings, manifest: Manifest, alpha_data: str) -> None:
    if manifest.of("val"):
        return
    training = run.training
    for setting, needed, remedy in (
        ("architecture.data is val", alpha_data == "val", "set it to batch or held_out"),
        ("select is best", training.select == "best", "set it to last"),
        (f"patience is {training.patience}", training.patience is not None, "set it to null"),
    ):
        if needed:
            raise SettingsError(
                f"training.{setting}, but {run.task} has no validation images", remedy=remedy
            )
