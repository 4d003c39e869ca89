"""Training of one run: from a manifest and settings to adapter weights and a receipt."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
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
from naslora.methods.registry import (
    adapt,
    get_method,
    load_method_files,
    trainable_parameters,
)
from naslora.methods.state import save_adapter
from naslora.nas.alternation import AlternatingOptimizer
from naslora.nas.cell import architecture_parameters, operation_shares
from naslora.provenance import peak_memory_bytes, provenance
from naslora.records import FileHash, Receipt, read_receipt, write_document
from naslora.sam.building import Sam
from naslora.sam.initial import initial_sam
from naslora.settings import RunSettings, Study
from naslora.training.device import launch_fabric
from naslora.training.losses import task_loss
from naslora.training.order import EpochSampler, halves, training_loader
from naslora.training.progress import EpochProgress

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Batch = tuple[Tensor, Tensor]


def train(study: Study, task: str, variant: str, seed: int) -> Receipt:
    """Train a method on a task; write the adapter weights and the receipt.

    Raises:
        DivergedError: a loss or a weight was not finite; the receipt, with that status, is
            written. Of a distributed run, the first process alone raises it.
        SettingsError: the settings ask for data that the task lacks.
        CheckpointError, ManifestError: what the run starts from is missing or damaged.
        DiskError: the results cannot be written.
    """
    began = time.perf_counter()
    run = study.run(task, variant, seed)
    layout = Layout.of(study)
    benchmark = get_benchmark(task)
    manifest = read_manifest(layout.manifest(task))
    load_method_files(study.method_files.values())
    method = get_method(run.method)

    fabric = launch_fabric(run.training, unused_parameters=True)
    sam, checkpoint = initial_sam(
        study, classes=len(benchmark.classes), seed=seed, pretrained=method.pretrained
    )
    adapt(sam, run.method, run.method_settings, seed=seed)
    sam.image_encoder.gradient_checkpointing = run.training.gradient_checkpointing
    torch.manual_seed(seed)

    # A method without a cell trains on all images, whatever the data for alpha.
    source = run.training.architecture.data if architecture_parameters(sam) else "batch"
    loaders = _loaders(fabric, run, manifest, layout.prepared(task), source)
    training = _Training(fabric, run, sam, len(benchmark.classes))

    history: list[dict[str, float]] = []
    alpha: list[dict[str, list[float]]] = []
    divergence: DivergedError | None = None
    title = f"{variant} on {task}, seed {seed}"
    silent = not fabric.is_global_zero
    with EpochProgress(title, run.training.epochs, silent=silent) as progress:
        try:
            for epoch in range(1, run.training.epochs + 1):
                history.append(training.epoch(epoch, loaders))
                alpha.append(operation_shares(sam))
                progress.epoch(history[-1])
            _check_weights(sam)
        except DivergedError as error:
            divergence = error

    receipt: Receipt | None = None
    if fabric.is_global_zero:
        adapter = layout.adapter(task, variant, seed)
        if divergence is None:
            save_adapter(sam, adapter)
        else:
            adapter.unlink(missing_ok=True)  # of an earlier run
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
    if receipt is None:  # another process of this run wrote it
        return read_receipt(layout.receipt(task, variant, seed))
    # If the other processes failed too, Fabric could kill this one before it says why.
    if divergence is not None:
        raise divergence
    return receipt


@dataclass(frozen=True)
class _Loaders:
    """Batches for the weights w, and for alpha where those are others."""

    weights: DataLoader[Batch]
    weights_sampler: EpochSampler
    architecture: DataLoader[Batch] | None
    architecture_sampler: EpochSampler | None


def _loaders(
    fabric: Fabric, run: RunSettings, manifest: Manifest, prepared: Path, source: str
) -> _Loaders:
    training = run.training
    if training.batch_size % fabric.world_size:
        raise SettingsError(
            f"training.batch_size {training.batch_size} is not shared evenly by"
            f" {fabric.world_size} processes"
        )
    images = SegmentationDataset(manifest, prepared, "train", run.sam.image_size)

    def loader(
        dataset: SegmentationDataset, indices: Sequence[int]
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
                dataset,
                sampler,
                batch_size=training.batch_size // fabric.world_size,
                workers=training.workers,
            ),
            sampler,
        )

    every = range(len(images))
    if source == "batch":
        return _Loaders(*loader(images, every), None, None)
    if source == "held_out":  # as DARTS: one half for w, the other for alpha
        for_weights, for_alpha = halves(len(images), run.seed)
        return _Loaders(*loader(images, for_weights), *loader(images, for_alpha))
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
        summary = {"epoch": float(epoch), "loss": self._mean(first)}
        if second:
            summary["architecture_loss"] = self._mean(second)
        return {**summary, "seconds": time.perf_counter() - began}

    def _mean(self, losses: list[float]) -> float:
        """Mean over the steps of all processes, which are as many in each."""
        mean = math.fsum(losses) / len(losses)
        if self._fabric.world_size > 1:
            local = torch.tensor(mean, device=self._fabric.device)
            mean = float(cast(Tensor, self._fabric.all_reduce(local, reduce_op="mean")))
        return mean

    def _loss(self, batch: Batch, at: str) -> Tensor:
        images, labels = (part.to(self._fabric.device, non_blocking=True) for part in batch)
        loss = task_loss(self._model(images), labels, self._classes, self._settings)
        auxiliary = collect_auxiliary_losses(self._sam)
        if auxiliary is not None:
            loss = loss + auxiliary
        value = loss.detach()
        if self._fabric.world_size > 1:  # one sum, so that all processes stop together
            value = value.clone()  # which the reduction overwrites
            value = cast(Tensor, self._fabric.all_reduce(value, reduce_op="sum"))
        if not bool(torch.isfinite(value)):
            raise DivergedError(
                f"training diverged: the loss is {float(value)} at {at}",
                remedy=_CALMER,
            )
        return loss


def _check_weights(sam: Sam) -> None:
    """The last step's loss is from before that step, and says nothing of where it led.

    Raises:
        DivergedError: a trained weight is not finite.
    """
    for name, parameter in trainable_parameters(sam).items():
        if not bool(parameter.isfinite().all()):
            raise DivergedError(
                f"training diverged: {name} is not finite after the last step",
                remedy=_CALMER,
            )


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


_CALMER = "lower training.learning_rate, or train with precision 32-true"
# Beyond any number of epochs, so that a repeated turn's order is no other epoch's.
_TURNS = 1_000_000
