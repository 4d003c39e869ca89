"""Requests to stop a run, by signals and otherwise, which are obeyed between two steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

# SLURM sends SIGTERM before it kills, and SIGUSR1 where a job asks for an earlier warning. A
# terminal sends SIGINT on Ctrl-C, and SIGHUP when it is closed. Windows lacks some of them.
STOP_SIGNALS = tuple(
    signal.Signals[name]
    for name in ("SIGTERM", "SIGUSR1", "SIGINT", "SIGHUP")
    if name in signal.Signals.__members__
)


class StopRequests:
    """In a `with` block, stores signals to stop instead of letting them end the process.

    A second SIGINT interrupts at once. Signals that are ignored already stay so. Only the main
    thread can handle signals; in another thread, nothing changes.

    Attributes:
        received: what asked to stop first, such as "SIGTERM"; None so far.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._before: dict[signal.Signals, Any] = {}

    def request(self, reason: str) -> None:
        """Ask to stop."""
        self.received = self.received or reason

    def __enter__(self) -> StopRequests:
        if threading.current_thread() is threading.main_thread():
            for number in STOP_SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            if handler is not None:  # None: not set from Python, and cannot be restored
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.request(signal.Signals(number).name)


def ignore_stop_signals(_: int = 0) -> None:
    """Ignore signals to stop, in a process that loads images.

    Schedulers signal all processes of a job, but only the main one saves. These end with it.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
