"""Progress of a run: one line an epoch, with the time that is left."""

from __future__ import annotations

import time
from types import TracebackType


class EpochProgress:
    """Prints a line per epoch: the count, the losses and the estimated rest.

    Args:
        title: what is trained.
        epochs: how many there will be.
        done: how many an earlier attempt has finished.
        silent: print nothing, as all processes of a distributed run but one should.
    """

    def __init__(self, title: str, epochs: int, *, done: int = 0, silent: bool = False):
        self._silent = silent
        self._title = title
        self._epochs = epochs
        self._before = self._done = done
        self._began = time.perf_counter()

    def __enter__(self) -> EpochProgress:
        self._print(f"{self._title}: {self._epochs} epochs")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        seconds = time.perf_counter() - self._began
        state = "finished" if error is None and self._done == self._epochs else "stopped"
        self._print(f"{self._title}: {state} after {self._done} epochs, {seconds:.0f} s")

    def epoch(self, losses: dict[str, float]) -> None:
        """Report a finished epoch, given its losses by name."""
        self._done += 1
        seconds = time.perf_counter() - self._began
        rest = seconds / (self._done - self._before) * (self._epochs - self._done)
        values = "  ".join(f"{k} {v:.4f}" for k, v in losses.items() if k.endswith("loss"))
        self._print(f"epoch {self._done}/{self._epochs}  {values}  {rest:.0f} s left")

    def _print(self, line: str) -> None:
        if not self._silent:
            print(line, flush=True)
