"""The batches of a run: for the weights w, and for alpha where those are others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor
from torch.utils.data import DataLoader

from naslora.core.errors import SettingsError
from naslora.data.dataset import SegmentationDataset
from naslora.data.manifest import Manifest
from naslora.sam.building import Sam
from naslora.study.layout import Layout
from naslora.study.settings import RunSettings
from naslora.training.embeddings import embedded_images
from naslora.training.order import EpochSampler, FlippedImages, halves, training_loader

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Batch = tuple[Tensor, Tensor]
# Beyond any number of epochs, so that a repeated turn's order is no other epoch's.
_TURNS = 1_000_000


@dataclass(frozen=True)
class EpochLoader:
    """Batches of some images, in an order that depends on the epoch."""

    loader: DataLoader[Batch]
    sampler: EpochSampler
    batch_size: int

    def epoch(self, epoch: int, done: int = 0) -> Iterator[Batch]:
        """The epoch's batches, without the first `done`, whose images are not even read."""
        self.sampler.epoch, self.sampler.skip = epoch, done * self.batch_size
        yield from self.loader

    def endless(self, epoch: int, done: int = 0) -> Iterator[Batch]:
        """The same without end: when all images have had their turn, they come in another order."""
        turn, done = divmod(done, -(-len(self.sampler) // self.batch_size))
        while True:
            yield from self.epoch(epoch + turn * _TURNS, done)
            turn, done = turn + 1, 0


@dataclass(frozen=True)
class Loaders:
    """Batches for the weights w; for alpha, None where it takes the same."""

    weights: EpochLoader
    architecture: EpochLoader | None


def build_loaders(
    fabric: Fabric, run: RunSettings, manifest: Manifest, layout: Layout, source: str, sam: Sam
) -> Loaders:
    """The batches of one process of a run.

    Args:
        fabric: knows which process of how many this is.
        run: the settings.
        manifest: of the task.
        layout: says where its images are.
        source: of the data for alpha, as the setting `training.architecture.data` says.
        sam: on its device. Where its encoder is not trained, batches have embeddings (B, C, h, w)
            for images, unless nothing is won by that.

    Raises:
        SettingsError: the processes cannot share a batch evenly, or there are no validation images
            to take.
    """
    training = run.training
    if training.batch_size % fabric.world_size:
        raise SettingsError(
            f"training.batch_size {training.batch_size} is not shared evenly by"
            f" {fabric.world_size} processes"
        )
    batch_size = training.batch_size // fabric.world_size
    prepared, cache = layout.prepared(run.task), layout.resized(run.task)
    images = SegmentationDataset(manifest, prepared, "train", run.sam.image_size, cache)

    embedded = embedded_images(fabric, run, sam, images, cache)

    def loader(dataset: SegmentationDataset, indices: Sequence[int]) -> EpochLoader:
        sampler = EpochSampler(
            indices,
            seed=run.seed,
            horizontal_flip=training.horizontal_flip,
            rank=fabric.global_rank,
            world_size=fabric.world_size,
        )
        samples = embedded if embedded and dataset is images else FlippedImages(dataset)
        batches = training_loader(samples, sampler, batch_size=batch_size, workers=training.workers)
        return EpochLoader(batches, sampler, batch_size)

    every = range(len(images))
    if source == "batch":
        return Loaders(loader(images, every), None)
    if source == "held_out":  # as DARTS: one half for w, the other for alpha
        for_weights, for_alpha = halves(len(images), run.seed)
        return Loaders(loader(images, for_weights), loader(images, for_alpha))
    if not manifest.of("val"):
        raise SettingsError(
            f"training.architecture.data is val, but {run.task} has no validation images",
            remedy="set it to batch or held_out",
        )
    validation = SegmentationDataset(manifest, prepared, "val", run.sam.image_size, cache)
    return Loaders(loader(images, every), loader(validation, range(len(validation))))
