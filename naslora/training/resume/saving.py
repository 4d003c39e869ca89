"""Saving a run between steps, and stopping it on request."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from naslora.core.errors import DiskError, LockError, StoppedError
from naslora.training.resume.attempts import OngoingAttempt
from naslora.training.resume.checkpoints import Checkpoints
from naslora.training.resume.signals import StopRequests
from naslora.training.resume.state import Progress

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# Saving takes at most this share of the time, unless every step is to be saved.
_SHARE = 0.01
_CHECK_LOCK_S = 5.0


class _Request(IntEnum):
    """The request of a process between steps; all processes follow the largest one."""

    CONTINUE = 0
    SAVE = 1
    SAVE_AND_STOP = 2
    STOP = 3


class Saver:
    """Saves a run between its steps.

    Args:
        fabric: all its processes save and stop at the same step.
        checkpoints: where to; used only by the first process.
        ongoing: the attempt, in the first process; else None.
        stop: may ask to stop.
        minutes: between checkpoints; 0 for one after every step.
        capture: returns the state of the run; all processes call it together.
        resumed: the progress in the checkpoint that this attempt resumed from, if there is one.
        log: called with messages about checkpoints that cannot be written.
    """

    def __init__(
        self,
        fabric: Fabric,
        checkpoints: Checkpoints,
        ongoing: OngoingAttempt | None,
        stop: StopRequests,
        minutes: float,
        capture: Callable[[], dict[str, Any]],
        resumed: Progress | None = None,
        log: Callable[[str], None] = print,
    ):
        self._fabric = fabric
        self._checkpoints = checkpoints
        self._ongoing = ongoing
        self._stop = stop
        self._seconds = 60 * minutes
        self._capture = capture
        self._log = log
        self._took = 0.0
        self._saved_at = self._checked_at = time.perf_counter()
        self._last = str(resumed) if resumed else None

    def after_step(self, progress: Progress, read_losses: Callable[[], None]) -> None:
        """Save if it is due; stop on request, or if another process has taken over the run.

        Args:
            progress: of the run.
            read_losses: called before saving, so that `progress` has the losses of all steps.

        Raises:
            StoppedError: something asked to stop. In the first process.
            LockError: another process has taken the run over. In the first process.
            SystemExit: one of these, in the others.
        """
        request = self._agreed(self._request())
        if request == _Request.STOP and self._ongoing is not None:
            self._ongoing.lock.check()
        if request in (_Request.SAVE, _Request.SAVE_AND_STOP):
            read_losses()
            self._save(progress)
        if request in (_Request.SAVE_AND_STOP, _Request.STOP):
            # Code 0, or Fabric would kill the first process before it reports the stop.
            raise self._stopped(progress) if self._ongoing is not None else SystemExit(0)

    def _request(self) -> _Request:
        now = time.perf_counter()
        if self._ongoing is not None and now - self._checked_at >= _CHECK_LOCK_S:
            self._checked_at = now
            try:
                self._ongoing.lock.check()
            except LockError:
                return _Request.STOP
        if self._stop.received is not None:
            return _Request.SAVE_AND_STOP
        pause = max(self._seconds, self._took / _SHARE) if self._seconds else 0.0
        if self._ongoing is not None and now - self._saved_at >= pause:
            return _Request.SAVE
        return _Request.CONTINUE

    def _agreed(self, request: _Request) -> _Request:
        if self._fabric.world_size == 1:
            return request
        mine = torch.tensor(int(request), device=self._fabric.device)
        return _Request(int(cast(Tensor, self._fabric.all_reduce(mine, reduce_op="max"))))

    def _save(self, progress: Progress) -> None:
        began = time.perf_counter()
        state = self._capture()
        if self._ongoing is not None:
            try:
                with self._ongoing.lock.guard():
                    self._checkpoints.save(progress.steps, state)
                self._last = str(progress)
            except DiskError as error:  # there may be space again when the run ends
                self._log(
                    f"{error.what}\n  where: {error.where}\n"
                    "  training continues without this checkpoint; free some space for the next"
                )
        self._saved_at = time.perf_counter()
        self._took = self._saved_at - began

    def _stopped(self, progress: Progress) -> StoppedError:
        by = self._stop.received or "a signal to one of its processes"
        then = f"resumes after {self._last}" if self._last else "restarts from the beginning"
        return StoppedError(
            f"training was stopped by {by} after {progress}",
            remedy=f"run the same command again: it {then}",
        )
