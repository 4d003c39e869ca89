"""Sends a signal to its own process at a chosen moment: a reproducible fault.

It is loaded as the file of a method, into the process that trains. `NASLORA_TEST_FAULT` names the
signal, the kind of moment or `any`, and their count: "SIGKILL replace 3" kills the process at its
third renaming of a file. With "group" at the end, all processes of the group get the signal.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import naslora.training.train
from naslora.core.validation import Settings
from naslora.methods.registry import register
from naslora.sam.building import Sam
from naslora.training.resume.saving import Saver


class NoSettings(Settings):
    pass


@register("moments", title="Moments", settings=NoSettings)
def apply(sam: Sam, settings: NoSettings) -> None:
    """Never called: no run uses this method."""


class Fault:
    def __init__(self, text: str):
        number, self._kind, count, *who = text.split()
        self._number = signal.Signals[number]
        self._left = int(count)
        self._group = bool(who)

    def moment(self, kind: str) -> None:
        if self._kind in ("any", kind):
            self._left -= 1
            if self._left == 0:
                send = os.killpg if self._group else os.kill
                send(0 if self._group else os.getpid(), self._number)

    def watch(self, owner: Any, name: str, *, before: str = "", after: str = "") -> None:
        """Make each call and each return of a function of a class or module a moment."""
        original: Callable[..., Any] = getattr(owner, name)

        def watched(*arguments: Any, **options: Any) -> Any:
            if before:
                self.moment(before)
            result = original(*arguments, **options)
            if after:
                self.moment(after)
            return result

        setattr(owner, name, watched)


if text := os.environ.get("NASLORA_TEST_FAULT"):
    fault = Fault(text)
    fault.watch(Saver, "after_step", before="step")
    fault.watch(os, "fsync", before="fsync")
    fault.watch(Path, "replace", before="replace", after="replaced")
    fault.watch(Path, "unlink", before="unlink")
    fault.watch(naslora.training.train, "save_adapter", before="results", after="adapter")
    fault.watch(naslora.training.train, "write_document", after="receipt")
