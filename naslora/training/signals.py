"""Signals that ask a run to stop: noted, and obeyed between two steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

# SLURM sends SIGTERM before it kills, and SIGUSR1 where a job asks for an earlier warning; a
# terminal sends SIGINT.
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class StopSignals:
    """While in its block, this process does not die of a signal that asks it to stop.

    A second SIGINT interrupts at once. Signals that are ignored already stay so. Only the main
    thread can do this; in another one, signals do what they did before.

    Attributes:
        received: the first signal that came, or None.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in STOP_SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = self.received or signal.Signals(number)


def ignore_stop_signals(_: int = 0) -> None:
    """Leave stopping to the main process; for the processes that load its images.

    Schedulers signal all processes of a job. These end with the main process.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
