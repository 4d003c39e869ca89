"""Training of one run: from a manifest and settings to adapter weights and a receipt."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from naslora.data.benchmark import get_benchmark
from naslora.data.dataset import SegmentationDataset
from naslora.data.manifest import Manifest, read_manifest
from naslora.errors import DivergedError, SettingsError
from naslora.files import sha256
from naslora.layout import Layout
from naslora.methods.auxiliary import collect_auxiliary_losses
from naslora.methods.registry import adapt, get_method, trainable_parameters
from naslora.methods.state import save_adapter
from naslora.nas.alternation import AlternatingOptimizer
from naslora.nas.cell import operation_shares
from naslora.provenance import peak_memory_bytes, provenance
from naslora.records import FileHash, Receipt, read_receipt, write_document
from naslora.sam.building import Sam
from naslora.sam.initial import initial_sam
from naslora.settings import RunSettings, Study
from naslora.training.device import launch_fabric
from naslora.training.losses import task_loss
from naslora.training.order import EpochSampler, training_loader
from naslora.training.progress import EpochProgress

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Batch = tuple[Tensor, Tensor]


def train(study: Study, task: str, variant: str, seed: int) -> Receipt:
    """Train a method on a task; write the adapter weights and the receipt.

    Raises:
        DivergedError: a loss was not finite; the receipt, with that status, is written.
        SettingsError: the settings ask for data that the task lacks.
        CheckpointError, ManifestError: what the run starts from is missing or damaged.
        DiskError: the results cannot be written.
    """
    began = time.perf_counter()
    run = study.run(task, variant, seed)
    layout = Layout.of(study)
    benchmark = get_benchmark(task)
    manifest = read_manifest(layout.manifest(task))
    method = get_method(run.method)

    fabric = launch_fabric(run.training, unused_parameters=True)
    sam, checkpoint = initial_sam(
        study, classes=len(benchmark.classes), seed=seed, pretrained=method.pretrained
    )
    adapt(sam, run.method, run.method_settings, seed=seed)
    torch.manual_seed(seed)

    loaders = _loaders(fabric, run, manifest, layout.prepared(task))
    training = _Training(fabric, run, sam, len(benchmark.classes))

    history: list[dict[str, float]] = []
    alpha: list[dict[str, list[float]]] = []
    divergence: DivergedError | None = None
    with EpochProgress(f"{variant} on {task}, seed {seed}", run.training.epochs) as progress:
        try:
            for epoch in range(1, run.training.epochs + 1):
                history.append(training.epoch(epoch, loaders))
                alpha.append(operation_shares(sam))
                progress.epoch(history[-1])
        except DivergedError as error:
            divergence = error

    receipt: Receipt | None = None
    if fabric.is_global_zero:
        adapter = layout.adapter(task, variant, seed)
        if divergence is None:
            save_adapter(sam, adapter)
        receipt = Receipt(
            status="done" if divergence is None else "diverged",
            message=None if divergence is None else divergence.what,
            settings=run.model_dump(mode="json", exclude={"sam": {"checkpoints"}}),
            fingerprint=run.fingerprint(),
            manifest_sha256=sha256(layout.manifest(task)),
            checkpoint_sha256=checkpoint,
            adapter=FileHash.of(adapter) if divergence is None else None,
            trainable_parameters=sum(p.numel() for p in trainable_parameters(sam).values()),
            total_parameters=sum(p.numel() for p in sam.parameters()),
            history=history,
            alpha=[shares for shares in alpha if shares],
            wall_time_s=time.perf_counter() - began,
            peak_memory_bytes=peak_memory_bytes(fabric.device),
            provenance=provenance(fabric.device),
        )
        write_document(layout.receipt(task, variant, seed), receipt)
    fabric.barrier()
    if divergence is not None:
        raise divergence
    if receipt is None:  # another process of this run wrote it
        receipt = read_receipt(layout.receipt(task, variant, seed))
    return receipt


@dataclass(frozen=True)
class _Loaders:
    """Batches for the weights w, and for alpha where those are others."""

    weights: DataLoader[Batch]
    weights_sampler: EpochSampler
    architecture: DataLoader[Batch] | None
    architecture_sampler: EpochSampler | None


def _loaders(fabric: Fabric, run: RunSettings, manifest: Manifest, prepared: Path) -> _Loaders:
    training = run.training
    images = SegmentationDataset(manifest, prepared, "train", run.sam.image_size)

    def loader(
        dataset: SegmentationDataset, indices: range
    ) -> tuple[DataLoader[Batch], EpochSampler]:
        sampler = EpochSampler(
            indices,
            seed=run.seed,
            horizontal_flip=training.horizontal_flip,
            rank=fabric.global_rank,
            world_size=fabric.world_size,
        )
        return (
            training_loader(
                dataset, sampler, batch_size=training.batch_size, workers=training.workers
            ),
            sampler,
        )

    source = training.architecture.data
    every = range(len(images))
    if source == "batch":
        return _Loaders(*loader(images, every), None, None)
    if source == "held_out":  # as DARTS: one half for w, the other for alpha
        half = len(images) // 2
        return _Loaders(*loader(images, every[:half]), *loader(images, every[half:]))
    if not manifest.of("val"):
        raise SettingsError(
            f"training.architecture.data is val, but {run.task} has no validation images",
            remedy="set it to batch or held_out",
        )
    validation = SegmentationDataset(manifest, prepared, "val", run.sam.image_size)
    return _Loaders(*loader(images, every), *loader(validation, range(len(validation))))


class _Training:
    """Model and optimisers of a run, and one epoch of them."""

    def __init__(self, fabric: Fabric, run: RunSettings, sam: Sam, classes: int):
        self._fabric = fabric
        self._settings = run.training
        self._classes = classes
        self._optimiser = AlternatingOptimizer(
            sam, run.training, idle_gradients=fabric.world_size > 1
        )
        self._sam = sam
        self._model = fabric.setup_module(sam.train())
        self._optimiser.wrap(fabric.setup_optimizers)

    def epoch(self, epoch: int, loaders: _Loaders) -> dict[str, float]:
        """Train for one epoch; returns mean losses and the seconds that it took.

        Raises:
            DivergedError: a loss was not finite. The weights are those before that step.
        """
        began = time.perf_counter()
        loaders.weights_sampler.epoch = epoch
        other = _cycle(loaders.architecture, loaders.architecture_sampler, epoch)
        first: list[float] = []
        second: list[float] = []
        for step, batch in enumerate(loaders.weights, start=1):
            at = f"epoch {epoch}, step {step}"
            apart = next(other) if other and self._optimiser.second_pass(epoch, step) else batch
            losses = self._optimiser.step(
                epoch,
                step,
                partial(self._loss, batch, at),
                partial(self._loss, apart, f"{at}, architecture"),
                self._fabric.backward,
            )
            first.append(float(losses[0]))
            if losses[1] is not None:
                second.append(float(losses[1]))
        summary = {"epoch": float(epoch), "loss": math.fsum(first) / len(first)}
        if second:
            summary["architecture_loss"] = math.fsum(second) / len(second)
        return {**summary, "seconds": time.perf_counter() - began}

    def _loss(self, batch: Batch, at: str) -> Tensor:
        images, labels = (part.to(self._fabric.device, non_blocking=True) for part in batch)
        loss = task_loss(self._model(images), labels, self._classes, self._settings)
        auxiliary = collect_auxiliary_losses(self._sam)
        if auxiliary is not None:
            loss = loss + auxiliary
        value = loss.detach()
        if self._fabric.world_size > 1:  # one sum, so that all processes stop together
            value = cast(Tensor, self._fabric.all_reduce(value, reduce_op="sum"))
        if not bool(torch.isfinite(value)):
            raise DivergedError(
                f"training diverged: the loss is {float(value)} at {at}",
                remedy="lower training.learning_rate, or train with precision 32-true",
            )
        return loss


def _cycle(
    loader: DataLoader[Batch] | None, sampler: EpochSampler | None, epoch: int
) -> Iterator[Batch] | None:
    """Batches without end: a shorter set goes round again, in another order."""
    if loader is None or sampler is None:
        return None

    def batches() -> Iterator[Batch]:
        turn = 0
        while True:
            sampler.epoch = epoch + turn * _TURNS
            yield from loader
            turn += 1

    return batches()


# Beyond any number of epochs, so that a repeated turn's order is no other epoch's.
_TURNS = 1_000_000
