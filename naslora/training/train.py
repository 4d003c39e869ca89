"""Training of one run: from a manifest and settings to adapter weights and a receipt."""

from __future__ import annotations

import time
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

import torch

from naslora import __version__
from naslora.core.errors import DivergedError, SettingsError
from naslora.core.files import sha256
from naslora.data.benchmarks.contract import get_benchmark
from naslora.data.manifest import read_manifest
from naslora.data.prepare import prepared_images
from naslora.methods.registry import adapt, get_method, load_method_files, trainable_parameters
from naslora.methods.state import save_adapter
from naslora.nas.cell import architecture_parameters
from naslora.sam.building import original_parameters
from naslora.study.layout import Layout
from naslora.study.provenance import peak_memory_bytes, provenance
from naslora.study.records import FileHash, Receipt, read_receipt, write_document
from naslora.study.settings import RunSettings, Study
from naslora.training.class_weights import class_weights
from naslora.training.device import launch_fabric
from naslora.training.fit import fit
from naslora.training.initial import initial_sam
from naslora.training.learner import Learner
from naslora.training.loaders import build_loaders
from naslora.training.output import Output
from naslora.training.progress import EpochProgress
from naslora.training.resume.attempts import OngoingAttempt, attempt, on_first_process
from naslora.training.resume.checkpoints import Checkpoints
from naslora.training.resume.saving import Saver
from naslora.training.resume.signals import StopRequests
from naslora.training.resume.state import Progress, capture, restore

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_TOO_LARGE = "set training.gradient_checkpointing to true, or lower training.batch_size"


def train(study: Study, task: str, variant: str, seed: int) -> Receipt:
    """Train a method on a task; write the adapter weights and the receipt.

    A run that was killed or stopped resumes from its last checkpoint. On a CPU its result is then
    the same, bit for bit, as without the stop.

    Raises:
        DivergedError: a loss or a weight is not finite; the receipt, with that status, is written.
            In a distributed run, only the first process raises it.
        StoppedError: a signal or a closed output stopped the run, which was saved.
        LockError: another process is working on this run.
        SettingsError: the settings do not fit the task or the machine, or ask for more memory than
            the GPU has.
        CheckpointError, ManifestError: what the run starts from is missing or damaged.
        DiskError: the results cannot be written.
        SystemExit: in the other processes of a distributed run, if the first one cannot take the
            run or is stopped.
    """
    began = time.perf_counter()
    run = study.run(task, variant, seed)
    load_method_files(study.method_files.values())
    get_method(run.method)
    fabric = launch_fabric(run.training)
    with attempt(fabric, Layout.of(study), run) as ongoing:
        try:
            return _Run(study, run, fabric, ongoing, began).finish()
        except torch.OutOfMemoryError as error:
            raise SettingsError(
                f"the GPU's memory is too small for this run: {str(error).splitlines()[0]}",
                remedy=_TOO_LARGE,
            ) from error


class _Run:
    """A run that is set up: model, data and checkpoints."""

    def __init__(
        self,
        study: Study,
        run: RunSettings,
        fabric: Fabric,
        ongoing: OngoingAttempt | None,
        began: float,
    ):
        self._run, self._fabric, self._ongoing, self._began = run, fabric, ongoing, began
        self._layout = layout = Layout.of(study)
        self._names = (run.task, run.variant, run.seed)
        benchmark = get_benchmark(run.task)
        classes = len(benchmark.classes)
        manifest = read_manifest(layout.manifest(run.task))
        prepared = prepared_images(study, manifest)
        self._manifest_sha256 = sha256(layout.manifest(run.task))
        sides = [max(sample.width, sample.height) for sample in manifest.of("train")]
        self._image_side = round(median(sides))
        self._sam, self._checkpoint_sha256 = initial_sam(
            study,
            classes=classes,
            seed=run.seed,
            pretrained=get_method(run.method).pretrained,
            most_classes=benchmark.most_classes,
        )
        adapt(self._sam, run.method, run.method_settings, seed=run.seed)
        self._sam.image_encoder.gradient_checkpointing = run.training.gradient_checkpointing
        torch.manual_seed(run.seed)
        self._learner = Learner(fabric, run.training, self._sam, classes)
        # A method without a cell trains on all images, whatever the data for alpha.
        self._has_alpha = bool(architecture_parameters(self._sam))
        self._loaders, images = build_loaders(
            fabric,
            run,
            manifest,
            prepared,
            layout.resized(run.task),
            self._sam,
            alpha_data=run.training.architecture.data if self._has_alpha else "batch",
        )
        weights = class_weights(run.training, images, classes)
        self._learner.class_weights = None if weights is None else weights.to(fabric.device)
        self._progress = Progress()

    def finish(self) -> Receipt:
        """Train to the end and write the results."""
        divergence: DivergedError | None = None
        with StopRequests() as stop:
            output = Output(silent=self._ongoing is None, stop=stop)
            checkpoints = self._checkpoints(output)
            try:
                self._fit(checkpoints, stop, output)
            except DivergedError as error:
                divergence = error
            if self._ongoing is not None:
                with self._ongoing.lock.guard():
                    self._write_results(self._ongoing.number, divergence)
                self._ongoing.ended()
                checkpoints.remove()
        self._fabric.barrier()
        # If the other processes failed too, Fabric could kill this one before it reports the error.
        if divergence is not None and self._ongoing is not None:
            raise divergence
        return read_receipt(self._layout.receipt(*self._names))

    def _checkpoints(self, output: Output) -> Checkpoints:
        identity = {
            "settings": self._run.fingerprint(),
            "manifest": self._manifest_sha256,
            "checkpoint": self._checkpoint_sha256,
            "naslora": __version__,
            "torch": torch.__version__,
        }
        return Checkpoints(self._layout.run(*self._names), identity, output.print)

    def _fit(self, checkpoints: Checkpoints, stop: StopRequests, output: Output) -> None:
        run, learner, fabric = self._run, self._learner, self._fabric
        title = f"{run.variant} on {run.task}, seed {run.seed}"
        state = fabric.broadcast(on_first_process(fabric, checkpoints.load))
        if state is not None:
            self._progress = restore(state, fabric, self._sam, learner.optimiser)
            number = self._ongoing.number if self._ongoing else 0
            output.print(f"{title}: attempt {number} resumes after {self._progress}")
        saver = Saver(
            fabric,
            checkpoints,
            self._ongoing,
            stop,
            run.training.checkpoint_minutes,
            lambda: capture(fabric, self._sam, learner.optimiser, self._measured()),
            resumed=self._progress if state is not None else None,
            log=output.print,
        )
        self._warn_if_alpha_is_never_trained(title, output)
        steps, done = len(self._loaders.weights), self._progress.epoch - 1
        epochs = run.training.epochs
        with EpochProgress(title, epochs, steps=steps, done=done, output=output) as report:
            fit(fabric, learner, self._loaders, self._progress, saver, report)

    def _warn_if_alpha_is_never_trained(self, title: str, output: Output) -> None:
        epochs, steps = self._run.training.epochs, len(self._loaders.weights)
        alpha = self._run.training.architecture
        if self._has_alpha and not self._learner.optimiser.ever_active(epochs, steps):
            output.print(
                f"{title}: alpha is never trained, so operation weights keep their initial values:"
                f" its updates begin after epoch {alpha.start_epoch} of {epochs}, and come every"
                f" {alpha.every_n_steps} steps of an epoch, which has {steps}"
            )

    def _measured(self) -> Progress:
        """The progress with what this attempt adds to the measurements of earlier ones."""
        progress = self._progress
        return replace(
            progress,
            seconds_before=progress.seconds_before + time.perf_counter() - self._began,
            peak_memory_bytes=max(
                progress.peak_memory_bytes, peak_memory_bytes(self._fabric.device)
            ),
        )

    def _write_results(self, attempts: int, divergence: DivergedError | None) -> None:
        adapter = self._layout.adapter(*self._names)
        if divergence is None:
            save_adapter(self._sam, adapter, self._image_side)
        else:
            adapter.unlink(missing_ok=True)  # of an earlier run
        run, progress = self._run, self._measured()
        with self._fabric.autocast():
            about = provenance(self._fabric.device, self._sam)
        best = progress.best_epoch() if progress.best is not None else None
        receipt = Receipt(
            status="done" if divergence is None else "diverged",
            message=None if divergence is None else divergence.what,
            settings=run.recorded(),
            fingerprint=run.fingerprint(),
            manifest_sha256=self._manifest_sha256,
            checkpoint_sha256=self._checkpoint_sha256,
            adapter=FileHash.of(adapter) if divergence is None else None,
            trainable_parameters=sum(p.numel() for p in trainable_parameters(self._sam).values()),
            total_parameters=sum(p.numel() for p in self._sam.parameters()),
            original_parameters=original_parameters(run.sam.backbone, run.sam.image_size),
            history=progress.history,
            selected_epoch=best if divergence is None else None,
            alpha=[shares for shares in progress.alpha if shares],
            attempts=attempts,
            wall_time_s=progress.seconds_before,
            peak_memory_bytes=progress.peak_memory_bytes,
            provenance=about,
        )
        write_document(self._layout.receipt(*self._names), receipt)
