"""Saving and restoring a run's state between two steps: all that later steps depend on."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from naslora.core.errors import StateError
from naslora.methods.state import adapter_state
from naslora.nas.alternation import AlternatingOptimizer
from naslora.sam.building import Sam

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")


@dataclass
class Progress:
    """Progress of a run, and its measurements so far.

    Attributes:
        epoch: the current one, counted from 1.
        step: steps made in this epoch.
        steps: steps made in all epochs.
        seconds: of this epoch's steps so far.
        losses: of this epoch's steps, in this process.
        architecture_losses: of this epoch's second passes, in this process.
        history: one entry per finished epoch; see `naslora.study.records.Receipt`.
        alpha: shares of the operations after each finished epoch.
        best: the trained tensors of the epoch with the best validation score, on the CPU; None
            where the last epoch's are kept.
        seconds_before: duration of earlier attempts, up to the checkpoints that were resumed from.
        peak_memory_bytes: the largest of earlier attempts.
    """

    epoch: int = 1
    step: int = 0
    steps: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    architecture_losses: list[float] = field(default_factory=list)
    history: list[dict[str, float]] = field(default_factory=list)
    alpha: list[dict[str, list[float]]] = field(default_factory=list)
    best: dict[str, Tensor] | None = None
    seconds_before: float = 0.0
    peak_memory_bytes: int = 0

    def begin_epoch(self, epoch: int) -> None:
        self.epoch, self.step, self.seconds = epoch, 0, 0.0
        self.losses, self.architecture_losses = [], []

    def best_epoch(self) -> int | None:
        """The first epoch with the highest validation score; None without scores."""
        scores = {int(e["epoch"]): e["val_score"] for e in self.history if "val_score" in e}
        return max(scores, key=lambda epoch: scores[epoch], default=None)

    def __str__(self) -> str:
        return f"epoch {self.epoch}, step {self.step}"


def capture(
    fabric: Fabric, sam: Sam, optimiser: AlternatingOptimizer, progress: Progress
) -> dict[str, Any]:
    """The state of a run, in a form that `Checkpoints.save` takes.

    All processes of the run call it together.
    """
    mine = {
        "random": _random_states(fabric.device),
        "losses": progress.losses,
        "architecture_losses": progress.architecture_losses,
    }
    return {
        "model": adapter_state(sam),
        "optimiser": optimiser.state_dict(),
        "precision": fabric.strategy.precision.state_dict(),
        "progress": {k: v for k, v in vars(progress).items() if k not in mine},
        "processes": _gather(fabric, mine),
    }


def restore(
    state: dict[str, Any], fabric: Fabric, sam: Sam, optimiser: AlternatingOptimizer
) -> Progress:
    """Restore a captured state; the run then continues as if it had not been stopped.

    Raises:
        StateError: the state has other tensors than the model, since the code has changed.
    """
    load_tensors(sam, state["model"])
    optimiser.load_state_dict(state["optimiser"])
    fabric.strategy.precision.load_state_dict(state["precision"])
    mine = state["processes"][fabric.global_rank]
    _set_random_states(mine["random"], fabric.device)
    losses = {key: mine[key] for key in ("losses", "architecture_losses")}
    return Progress(**{**state["progress"], **losses})


def load_tensors(sam: Sam, saved: dict[str, Tensor]) -> None:
    """Copy what `adapter_state` returned earlier into an adapted SAM.

    Raises:
        StateError: the model has other tensors.
    """
    model = adapter_state(sam)
    if {k: v.shape for k, v in saved.items()} != {k: v.shape for k, v in model.items()}:
        raise StateError(
            "the checkpoint of this run is of a model with other parameters",
            remedy="delete the checkpoints in the run's folder, and it restarts from the beginning",
        )
    with torch.no_grad():
        for name, tensor in model.items():
            tensor.copy_(saved[name])


def _random_states(device: torch.device) -> dict[str, Any]:
    numpy = dict(np.random.get_state(legacy=False))
    key = numpy["state"]["key"].tolist()
    states = {
        "python": random.getstate(),
        "numpy": {**numpy, "state": {**numpy["state"], "key": key}},
        "cpu": torch.get_rng_state(),
    }
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def _set_random_states(states: dict[str, Any], device: torch.device) -> None:
    random.setstate(states["python"])
    numpy = states["numpy"]
    key = np.asarray(numpy["state"]["key"], np.uint32)
    np.random.set_state({**numpy, "state": {**numpy["state"], "key": key}})
    torch.set_rng_state(states["cpu"])
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
    if "mps" in states:
        torch.mps.set_rng_state(states["mps"])


def _gather(fabric: Fabric, value: T) -> list[T]:
    if fabric.world_size == 1:
        return [value]
    values: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(values, value)
    return values
