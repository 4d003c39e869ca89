"""Losses of training steps that stay on the device until several are read at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from naslora.core.errors import DivergedError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# Steps between readings of the losses, each of which waits for the GPU.
READ_EVERY = 20


class PendingLosses:
    """Losses of steps, which stay on the device until they are read all at once.

    Args:
        fabric: device and processes.
        diverged: the error for a loss that is not finite, from a text that says which.
    """

    def __init__(self, fabric: Fabric, diverged: Callable[[str], DivergedError]):
        self._fabric = fabric
        self._diverged = diverged
        self._pending: list[tuple[Tensor, Callable[[float], None], str]] = []

    def add(self, loss: Tensor, take: Callable[[float], None], at: str) -> None:
        """Store a loss.

        Args:
            loss: a scalar.
            take: called with its value once it is read.
            at: its epoch and step, for messages.
        """
        self._pending.append((loss.detach(), take, at))

    def read(self) -> None:
        """Wait for the stored losses, and hand their values on in the order of their steps.

        Raises:
            DivergedError: one is not finite, in any process; all processes raise it.
        """
        if not self._pending:
            return
        stacked = torch.stack([loss for loss, _, _ in self._pending])
        values = summed = stacked.tolist()
        if self._fabric.world_size > 1:
            summed = cast(Tensor, self._fabric.all_reduce(stacked, reduce_op="sum")).tolist()
        pending, self._pending = self._pending, []
        for (_, take, at), value, total in zip(pending, values, summed, strict=True):
            if not math.isfinite(total):
                raise self._diverged(f"the loss is {total} at {at}")
            take(value)
