"""Model and optimisers of a run, and the steps and epochs that they make."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from naslora.core.errors import DivergedError, SettingsError
from naslora.methods.auxiliary import collect_auxiliary_losses
from naslora.methods.registry import trainable_parameters
from naslora.nas.alternation import AlternatingOptimizer
from naslora.nas.cell import operation_shares
from naslora.sam.building import Sam
from naslora.sam.mask_decoder import Prediction
from naslora.study.settings import RunSettings
from naslora.training.embeddings import embed, has_fixed_embeddings
from naslora.training.loaders import Batch, Loaders
from naslora.training.losses import task_loss
from naslora.training.resume import Progress

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_CALMER = "lower training.learning_rate, or train with precision 32-true"
_SMALLER = "set training.gradient_checkpointing to true, or lower training.batch_size"


class Trainer:
    """Trains an adapted SAM.

    Args:
        fabric: device, precision and processes.
        run: the settings.
        sam: with the method on it.
        classes: 1 for a binary task, else the number of classes with the background.

    Attributes:
        optimiser: of w and alpha.
        progress: where the run stands.
    """

    def __init__(self, fabric: Fabric, run: RunSettings, sam: Sam, classes: int):
        self._fabric = fabric
        self._settings = run.training
        self._classes = classes
        self.optimiser = AlternatingOptimizer(
            sam, run.training, idle_gradients=fabric.world_size > 1
        )
        self._sam = sam
        self._fixed_embeddings = has_fixed_embeddings(fabric, sam)
        self._model = fabric.setup_module(sam.train())
        self._model.mark_forward_method("decode")
        self.optimiser.wrap(fabric.setup_optimizers)
        self.progress = Progress()

    def train(
        self,
        loaders: Loaders,
        after_step: Callable[[Progress], None],
        after_epoch: Callable[[dict[str, float]], None],
    ) -> None:
        """Train from where the run stands to its end.

        Args:
            loaders: the batches.
            after_step: called between steps, where the run can be saved.
            after_epoch: called with an epoch's mean losses and the seconds that it took.

        Raises:
            DivergedError: a loss or, at the end, a weight was not finite. In the first case,
                nothing was updated by that loss.
            SettingsError: the GPU's memory is too small for a step.
        """
        progress = self.progress
        for epoch in range(progress.epoch, self._settings.epochs + 1):
            if epoch > progress.epoch:
                progress.begin_epoch(epoch)
            try:
                self._epoch(loaders, after_step)
            except torch.OutOfMemoryError as error:
                raise SettingsError(
                    f"the GPU's memory is too small for this run: {str(error).splitlines()[0]}",
                    remedy=_SMALLER,
                ) from error
            summary = {"epoch": float(epoch), "loss": self._mean(progress.losses)}
            if progress.architecture_losses:
                summary["architecture_loss"] = self._mean(progress.architecture_losses)
            progress.history.append({**summary, "seconds": progress.seconds})
            progress.alpha.append(operation_shares(self._sam))
            after_epoch(progress.history[-1])
        self._check_weights()

    def step(
        self, epoch: int, step: int, batch: Batch, other: Batch
    ) -> tuple[Tensor, Tensor | None]:
        """Make one step of the schedule, which counts epochs and steps from 1.

        Args:
            epoch: decides, with `step`, whether alpha is updated.
            step: within the epoch.
            batch: images and labels for w.
            other: those for alpha, where it takes a second pass.

        Returns:
            The losses of the first and the second pass, detached; None without a second pass.

        Raises:
            DivergedError: a loss is not finite.
        """
        where = f"epoch {epoch}, step {step}"
        return self.optimiser.step(
            epoch,
            step,
            partial(self._loss, batch, where),
            partial(self._loss, other, f"{where}, architecture"),
            self._fabric.backward,
        )

    def _epoch(self, loaders: Loaders, after_step: Callable[[Progress], None]) -> None:
        """Make those of the epoch's steps that have not been made."""
        progress, at = self.progress, time.perf_counter()
        epoch, second_passes = progress.epoch, len(progress.architecture_losses)
        apart = loaders.architecture and loaders.architecture.endless(epoch, second_passes)
        for batch in loaders.weights.epoch(epoch, progress.step):
            step = progress.step + 1
            other = next(apart) if apart and self.optimiser.second_pass(epoch, step) else batch
            first, second = self.step(epoch, step, batch, other)
            progress.losses.append(float(first))
            if second is not None:
                progress.architecture_losses.append(float(second))
            progress.step, progress.steps = step, progress.steps + 1
            now = time.perf_counter()
            progress.seconds, at = progress.seconds + now - at, now
            after_step(progress)

    def _mean(self, losses: list[float]) -> float:
        """Mean over the steps of all processes, which are as many in each."""
        mean = math.fsum(losses) / len(losses)
        if self._fabric.world_size > 1:
            local = torch.tensor(mean, device=self._fabric.device)
            mean = float(cast(Tensor, self._fabric.all_reduce(local, reduce_op="mean")))
        return mean

    def _loss(self, batch: Batch, where: str) -> Tensor:
        images, labels = (part.to(self._fabric.device, non_blocking=True) for part in batch)
        loss = task_loss(self._predict(images), labels, self._classes, self._settings)
        auxiliary = collect_auxiliary_losses(self._sam)
        if auxiliary is not None:
            loss = loss + auxiliary
        value = loss.detach()
        if self._fabric.world_size > 1:  # one sum, so that all processes stop together
            value = value.clone()  # which the reduction overwrites
            value = cast(Tensor, self._fabric.all_reduce(value, reduce_op="sum"))
        if not bool(torch.isfinite(value)):
            raise DivergedError(
                f"training diverged: the loss is {float(value)} at {where}",
                remedy=_CALMER,
            )
        return loss

    def _predict(self, images: Tensor) -> Prediction:
        """Predict masks of images (B, 3, S, S), uint8, or of embeddings that were kept."""
        prediction: Prediction
        if not self._fixed_embeddings:
            prediction = self._model(images)
        else:
            kept = images.dtype != torch.uint8
            embeddings = images if kept else embed(self._fabric, self._sam, images)
            prediction = self._model.decode(embeddings)
        return prediction

    def _check_weights(self) -> None:
        """The last step's loss is from before that step, and says nothing of where it led."""
        for name, parameter in trainable_parameters(self._sam).items():
            if not bool(parameter.isfinite().all()):
                raise DivergedError(
                    f"training diverged: {name} is not finite after the last step",
                    remedy=_CALMER,
                )
