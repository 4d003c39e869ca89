"""The training loop: Algorithm 1, from the first batch to the last."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from naslora.methods.registry import trainable_parameters
from naslora.methods.state import adapter_state
from naslora.nas.cell import operation_shares
from naslora.sam.building import Sam
from naslora.training.learner import Learner, diverged
from naslora.training.loaders import Batch, Loaders
from naslora.training.pending import READ_EVERY, PendingLosses
from naslora.training.progress import EpochProgress
from naslora.training.resume.saving import Saver
from naslora.training.resume.state import Progress, load_tensors
from naslora.training.validation import validate

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def fit(
    fabric: Fabric,
    learner: Learner,
    loaders: Loaders,
    progress: Progress,
    saver: Saver,
    report: EpochProgress,
) -> None:
    """Train from the current progress to the end of the run.

    Args:
        fabric: device, precision and processes.
        learner: the model and its optimiser.
        loaders: the batches.
        progress: of the run so far; it is updated.
        saver: called between steps, to save the run, and to stop it on request.
        report: called after steps and epochs.

    Raises:
        DivergedError: a loss or, at the end, a weight is not finite.
        StoppedError, LockError: see `Saver.after_step`.
    """
    settings, optimiser = learner.settings, learner.optimiser
    losses = PendingLosses(fabric, diverged)
    total = settings.epochs * len(loaders.weights)
    for epoch in range(progress.epoch, settings.epochs + 1):
        if epoch > progress.epoch:
            progress.begin_epoch(epoch)
        done = len(progress.architecture_losses)
        alpha_batches = loaders.architecture and loaders.architecture.endless(epoch, done)
        began = time.perf_counter() - progress.seconds
        for batch in loaders.weights.epoch(epoch, progress.step):
            step = progress.step + 1
            optimiser.set_progress(progress.steps / total)

            # The step of alpha is on the same batch, or on other images.
            loss, alpha_loss = optimiser.step(
                epoch,
                step,
                partial(learner.loss, batch),
                partial(_next_loss, learner, alpha_batches) if alpha_batches else None,
                fabric.backward,
            )
            at = f"epoch {epoch}, step {step}"
            losses.add(loss, progress.losses.append, at)
            if alpha_loss is not None:
                losses.add(alpha_loss, progress.architecture_losses.append, f"{at}, architecture")

            progress.step, progress.steps = step, progress.steps + 1
            progress.seconds = time.perf_counter() - began
            if step % READ_EVERY == 0:
                losses.read()
            saver.after_step(progress, losses.read)
            report.step(progress)

        losses.read()
        progress.seconds = time.perf_counter() - began
        summary = {"epoch": float(epoch), "loss": _mean(fabric, progress.losses)}
        if progress.architecture_losses:
            summary["architecture_loss"] = _mean(fabric, progress.architecture_losses)
        if loaders.validation and epoch % settings.validate_every_n_epochs == 0:
            summary |= validate(fabric, learner, loaders.validation)
        progress.history.append({**summary, "seconds": progress.seconds})
        progress.alpha.append(operation_shares(learner.sam))
        report.epoch(progress.history[-1])

        best = progress.best_epoch()
        if settings.select == "best" and best == epoch:
            state = adapter_state(learner.sam)
            progress.best = {name: v.to("cpu", copy=True) for name, v in state.items()}
        if settings.patience and best and epoch - best >= settings.patience:
            report.message(f"stopped early: epoch {best} has the best validation score")
            break
    if progress.best is not None:
        load_tensors(learner.sam, progress.best)
    check_weights(learner.sam)


def _next_loss(learner: Learner, batches: Iterator[Batch]) -> Tensor:
    return learner.loss(next(batches))


def check_weights(sam: Sam) -> None:
    """Check that the weights after the last step, from which no loss was computed, are finite.

    Raises:
        DivergedError: a weight is not.
    """
    parameters = trainable_parameters(sam)
    finite = torch.stack([parameter.isfinite().all() for parameter in parameters.values()])
    for name, ok in zip(parameters, finite.tolist(), strict=True):
        if not ok:
            raise diverged(f"{name} is not finite after the last step")


def _mean(fabric: Fabric, losses: list[float]) -> float:
    """Mean over the steps of all processes, which all have the same number of steps."""
    mean = math.fsum(losses) / len(losses)
    if fabric.world_size > 1:
        local = torch.tensor(mean, device=fabric.device)
        mean = float(cast(Tensor, fabric.all_reduce(local, reduce_op="mean")))
    return mean
