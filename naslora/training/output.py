"""The standard output of a run."""

from __future__ import annotations

import os
import sys

from naslora.training.resume.signals import StopRequests


class Output:
    """Lines on standard output. A run whose output was closed is asked to stop, as by a signal.

    Args:
        silent: print nothing, as all processes of a distributed run but the first do.
        stop: is asked to stop when the output is closed; by default, the error is raised.
    """

    def __init__(self, *, silent: bool = False, stop: StopRequests | None = None):
        self.silent = silent
        self._stop = stop

    @property
    def is_terminal(self) -> bool:
        """Whether standard output is a terminal."""
        return not self.silent and sys.stdout.isatty()

    def print(self, text: str) -> None:
        """Print a text and a line break.

        Raises:
            OSError: the output was closed, and `stop` is None.
        """
        if self.silent:
            return
        try:
            print(text, flush=True)
        except OSError:  # a closed pipe, or a terminal that is gone
            if self._stop is None:
                raise
            self._stop.request("its closed output")
            self.silent = True
            # Python would fail again when it flushes its buffer at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
