"""What happens between two steps: a checkpoint when it is time, a stop when it is asked for."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from naslora.core.errors import DiskError, LockError, StoppedError
from naslora.training.attempts import OngoingAttempt
from naslora.training.checkpointing import Checkpoints
from naslora.training.resume import Progress
from naslora.training.signals import StopSignals

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# Saving takes no more than this part of the time, however often it is asked for.
_SHARE = 0.01
_LOCK_SECONDS = 5.0


class _Wish(IntEnum):
    """What a process wants; of several processes, the largest wish counts."""

    GO_ON = 0
    SAVE = 1
    SAVE_AND_STOP = 2
    STOP = 3


class Saving:
    """Saves a run between its steps.

    Args:
        fabric: all its processes save and stop at the same step.
        checkpoints: where to; used by the first process alone.
        ongoing: the attempt, in the first process; else None.
        signals: that may ask to stop.
        minutes: between checkpoints; 0 for one after every step, whatever it costs.
        capture: returns the state of the run; all processes call it together.
        resumed: what the checkpoint that this attempt goes on from said, if there is one.
    """

    def __init__(
        self,
        fabric: Fabric,
        checkpoints: Checkpoints,
        ongoing: OngoingAttempt | None,
        signals: StopSignals,
        minutes: float,
        capture: Callable[[], dict[str, Any]],
        resumed: Progress | None,
    ):
        self._fabric = fabric
        self._checkpoints = checkpoints
        self._ongoing = ongoing
        self._signals = signals
        self._seconds = 60 * minutes
        self._capture = capture
        self._took = 0.0
        self._saved_at = self._looked_at = time.perf_counter()
        self._last = str(resumed) if resumed else None

    def after_step(self, progress: Progress) -> None:
        """Save if it is time; stop if a signal came, or if another process has the run.

        Raises:
            StoppedError: a signal came. In the first process.
            LockError: another process has taken the run over. In the first process.
            SystemExit: one of these, in the others.
        """
        wish = self._agreed(self._wish())
        if wish == _Wish.STOP and self._ongoing is not None:
            self._ongoing.lock.check()
        if wish in (_Wish.SAVE, _Wish.SAVE_AND_STOP):
            self._save(progress)
        if wish in (_Wish.SAVE_AND_STOP, _Wish.STOP):
            # Code 0 of the others, or Fabric would kill the first before it says why.
            raise self._stopped(progress) if self._ongoing is not None else SystemExit(0)

    def _wish(self) -> _Wish:
        now = time.perf_counter()
        if self._ongoing is not None and now - self._looked_at >= _LOCK_SECONDS:
            self._looked_at = now
            try:
                self._ongoing.lock.check()
            except LockError:
                return _Wish.STOP
        if self._signals.received is not None:
            return _Wish.SAVE_AND_STOP
        pause = max(self._seconds, self._took / _SHARE) if self._seconds else 0.0
        if self._ongoing is not None and now - self._saved_at >= pause:
            return _Wish.SAVE
        return _Wish.GO_ON

    def _agreed(self, wish: _Wish) -> _Wish:
        if self._fabric.world_size == 1:
            return wish
        mine = torch.tensor(int(wish), device=self._fabric.device)
        return _Wish(int(cast(Tensor, self._fabric.all_reduce(mine, reduce_op="max"))))

    def _save(self, progress: Progress) -> None:
        began = time.perf_counter()
        state = self._capture()
        if self._ongoing is not None:
            try:
                with self._ongoing.lock.guard():
                    self._checkpoints.save(progress.steps, state)
                self._last = str(progress)
            except DiskError as error:  # the run itself may still end well
                print(
                    f"{error.what}\n  where: {error.where}\n"
                    "  training goes on without this checkpoint; free some space for the next",
                    flush=True,
                )
        self._saved_at = time.perf_counter()
        self._took = self._saved_at - began

    def _stopped(self, progress: Progress) -> StoppedError:
        signal = self._signals.received
        by = signal.name if signal is not None else "a signal to one of its processes"
        then = f"goes on after {self._last}" if self._last else "begins anew"
        return StoppedError(
            f"training was stopped by {by} after {progress}",
            remedy=f"run the same command again: it {then}",
        )
