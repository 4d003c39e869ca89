"""Training of one run: from a manifest and settings to adapter weights and a receipt."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from naslora import __version__
from naslora.core.errors import DivergedError
from naslora.core.files import sha256
from naslora.data.benchmarks.contract import get_benchmark
from naslora.data.manifest import read_manifest
from naslora.data.prepare import prepared_images
from naslora.methods.registry import (
    adapt,
    get_method,
    load_method_files,
    trainable_parameters,
)
from naslora.methods.state import save_adapter
from naslora.nas.cell import architecture_parameters
from naslora.sam.building import original_parameters
from naslora.study.layout import Layout
from naslora.study.provenance import peak_memory_bytes, provenance
from naslora.study.records import FileHash, Receipt, read_receipt, write_document
from naslora.study.settings import RunSettings, Study
from naslora.training.attempts import OngoingAttempt, attempt, on_first_process
from naslora.training.checkpointing import Checkpoints
from naslora.training.device import launch_fabric
from naslora.training.initial import initial_sam
from naslora.training.loaders import build_loaders
from naslora.training.progress import EpochProgress
from naslora.training.resume import Progress, capture, restore
from naslora.training.saving import Saving
from naslora.training.signals import StopSignals
from naslora.training.trainer import Trainer

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def train(study: Study, task: str, variant: str, seed: int) -> Receipt:
    """Train a method on a task; write the adapter weights and the receipt.

    A run that was killed or stopped goes on from its last checkpoint. On a CPU its result is then
    the same, bit for bit, as without the stop.

    Raises:
        DivergedError: a loss or a weight was not finite; the receipt, with that status, is
            written. Of a distributed run, the first process alone raises it.
        StoppedError: a signal asked to stop.
        LockError: another process is at work on this run.
        SettingsError: the settings ask for data that the task lacks, or for more memory than the
            GPU has.
        CheckpointError, ManifestError: what the run starts from is missing or damaged.
        DiskError: the results cannot be written.
        SystemExit: in the other processes of a distributed run, where the first one is refused
            the run or told to stop.
    """
    began = time.perf_counter()
    run = study.run(task, variant, seed)
    load_method_files(study.method_files.values())
    get_method(run.method)
    fabric = launch_fabric(run.training, unused_parameters=True)
    with attempt(fabric, Layout.of(study), run) as ongoing:
        return _Run(study, run, fabric, ongoing, began).finish()


class _Run:
    """A run that is set up, and the way to its end."""

    def __init__(
        self,
        study: Study,
        run: RunSettings,
        fabric: Fabric,
        ongoing: OngoingAttempt | None,
        began: float,
    ):
        self._run = run
        self._fabric = fabric
        self._ongoing = ongoing
        self._began = began
        self._layout = Layout.of(study)
        self._names = (run.task, run.variant, run.seed)
        classes = len(get_benchmark(run.task).classes)
        manifest = read_manifest(self._layout.manifest(run.task))
        prepared_images(study, manifest)
        self._manifest_sha256 = sha256(self._layout.manifest(run.task))
        self._sam, self._checkpoint_sha256 = initial_sam(
            study,
            classes=classes,
            seed=run.seed,
            pretrained=get_method(run.method).pretrained,
        )
        adapt(self._sam, run.method, run.method_settings, seed=run.seed)
        self._sam.image_encoder.gradient_checkpointing = run.training.gradient_checkpointing
        torch.manual_seed(run.seed)
        # A method without a cell trains on all images, whatever the data for alpha.
        self._has_alpha = bool(architecture_parameters(self._sam))
        source = run.training.architecture.data if self._has_alpha else "batch"
        self._trainer = Trainer(fabric, run, self._sam, classes)
        self._loaders = build_loaders(fabric, run, manifest, self._layout, source, self._sam)
        self._checkpoints = Checkpoints(
            self._layout.run(*self._names),
            {
                "settings": run.fingerprint(),
                "manifest": self._manifest_sha256,
                "checkpoint": self._checkpoint_sha256,
                "naslora": __version__,
                "torch": torch.__version__,
            },
        )

    def finish(self) -> Receipt:
        """Train to the end and write the results."""
        divergence: DivergedError | None = None
        with StopSignals() as signals:
            try:
                self._train(signals)
            except DivergedError as error:
                divergence = error
            if self._ongoing is not None:
                with self._ongoing.lock.guard():
                    self._write(self._ongoing.number, divergence)
                self._ongoing.ended()
                self._checkpoints.remove()
        self._fabric.barrier()
        # If the other processes failed too, Fabric could kill this one before it says why.
        if divergence is not None and self._ongoing is not None:
            raise divergence
        return read_receipt(self._layout.receipt(*self._names))

    def _train(self, signals: StopSignals) -> None:
        run, trainer = self._run, self._trainer
        title = f"{run.variant} on {run.task}, seed {run.seed}"
        state = self._fabric.broadcast(on_first_process(self._fabric, self._checkpoints.load))
        if state is not None:
            trainer.progress = restore(state, self._fabric, self._sam, trainer.optimiser)
            if self._ongoing is not None:
                number = self._ongoing.number
                print(f"{title}: attempt {number} goes on after {trainer.progress}", flush=True)
        saving = Saving(
            self._fabric,
            self._checkpoints,
            self._ongoing,
            signals,
            run.training.checkpoint_minutes,
            self._state,
            trainer.progress if state is not None else None,
        )
        done = trainer.progress.epoch - 1
        silent = self._ongoing is None
        if self._has_alpha and not silent:
            self._tell_if_alpha_is_never_trained(title)
        with EpochProgress(title, run.training.epochs, done=done, silent=silent) as progress:
            trainer.train(self._loaders, saving.after_step, progress.epoch)

    def _tell_if_alpha_is_never_trained(self, title: str) -> None:
        epochs, steps = self._run.training.epochs, len(self._loaders.weights.loader)
        alpha = self._run.training.architecture
        if not self._trainer.optimiser.ever_active(epochs, steps):
            print(
                f"{title}: alpha is never trained, since that begins after epoch"
                f" {alpha.start_epoch} of {epochs}, at step {alpha.every_n_steps} of an epoch's"
                f" {steps}: every operation keeps the share that it is drawn with",
                flush=True,
            )

    def _measured(self) -> Progress:
        """The progress with what this attempt adds to the measurements of earlier ones."""
        progress = self._trainer.progress
        return replace(
            progress,
            seconds_before=progress.seconds_before + time.perf_counter() - self._began,
            peak_memory_bytes=max(
                progress.peak_memory_bytes, peak_memory_bytes(self._fabric.device)
            ),
        )

    def _state(self) -> dict[str, Any]:
        return capture(self._fabric, self._sam, self._trainer.optimiser, self._measured())

    def _write(self, attempts: int, divergence: DivergedError | None) -> None:
        adapter = self._layout.adapter(*self._names)
        if divergence is None:
            save_adapter(self._sam, adapter)
        else:
            adapter.unlink(missing_ok=True)  # of an earlier run
        run, progress = self._run, self._measured()
        with self._fabric.autocast():
            about = provenance(self._fabric.device, self._sam)
        receipt = Receipt(
            status="done" if divergence is None else "diverged",
            message=None if divergence is None else divergence.what,
            settings=run.model_dump(mode="json", exclude={"sam": {"checkpoints"}}),
            fingerprint=run.fingerprint(),
            manifest_sha256=self._manifest_sha256,
            checkpoint_sha256=self._checkpoint_sha256,
            adapter=FileHash.of(adapter) if divergence is None else None,
            trainable_parameters=sum(p.numel() for p in trainable_parameters(self._sam).values()),
            total_parameters=sum(p.numel() for p in self._sam.parameters()),
            original_parameters=original_parameters(run.sam.backbone, run.sam.image_size),
            history=progress.history,
            alpha=[shares for shares in progress.alpha if shares],
            attempts=attempts,
            wall_time_s=progress.seconds_before,
            peak_memory_bytes=progress.peak_memory_bytes,
            provenance=about,
        )
        write_document(self._layout.receipt(*self._names), receipt)
