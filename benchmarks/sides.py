"""Sides of a comparison: processes that each repeat one job, in turn, whenever they are told to.

All sides of a comparison are measured alternately, one job at a time, so that whatever else the
machine does falls on all, and each in a process of its own, so that each has a peak of memory of
its own. The peak is of the whole process, Python and torch included, as it would be in a job.
Turns are taken until the ratios are known well enough; see `ratios.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import psutil
import torch
from ratios import LEAST, is_narrow, quiet_turns, ratios_of_turns

from naslora.study.provenance import peak_memory_bytes

# A job that takes less is repeated within its turn: the machine counts its load in hundredths of
# a second.
_LEAST_SECONDS = 0.25


def busy_seconds() -> float:
    """Seconds that all processors of this machine have worked, since it was started."""
    times = psutil.cpu_times()
    names = ("user", "nice", "system", "irq", "softirq", "steal")
    return float(sum(getattr(times, name, 0.0) for name in names))


@dataclass(frozen=True)
class Clocks:
    """Seconds, of three kinds, and the number of processors.

    Attributes:
        wall: of the clock on the wall.
        processor: that this process has used, all threads together.
        busy: that all processors have worked.
        processors: of this machine.
    """

    wall: Callable[[], float] = time.perf_counter
    processor: Callable[[], float] = time.process_time
    busy: Callable[[], float] = busy_seconds
    processors: int = psutil.cpu_count() or 1

    def now(self) -> tuple[float, float, float]:
        return self.wall(), self.processor(), self.busy()


class Timer:
    """Times a job, and what the machine does beside it."""

    def __init__(self, job: Callable[[], object], clocks: Clocks | None = None):
        self._job = job
        self._clocks = clocks or Clocks()
        self._times = 1

    def turn(self) -> dict[str, float]:
        """Do the job, more than once if it is short.

        Returns:
            Wall and processor seconds of one job; and `outside`, the share of the machine's
            processors that was used by others.
        """
        before = self._clocks.now()
        for _ in range(self._times):
            self._job()
        wall, own, busy = (b - a for a, b in zip(before, self._clocks.now(), strict=True))
        outside = max(0.0, busy - own) / (wall * self._clocks.processors)
        found = {"seconds": wall / self._times, "cpu_seconds": own / self._times}
        self._times = max(1, round(_LEAST_SECONDS / max(found["seconds"], 1e-6)))
        return {**found, "outside": outside}


def serve(job: Callable[[], object], device: torch.device) -> None:
    """Do a job for each line on the standard input; say what it took on the standard output."""

    def whole() -> None:
        job()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    before = peak_memory_bytes(device)
    timer = Timer(whole)
    for _ in sys.stdin:
        found = timer.turn()
        found["peak_gib"] = peak_memory_bytes(device) / 2**30
        found["before_gib"] = before / 2**30
        print(json.dumps(found), flush=True)


class Repeated(Protocol):
    """What takes turns."""

    def repeat(self) -> dict[str, float]: ...

    def close(self) -> None: ...


class Side:
    """A process that serves a job; see `serve`."""

    def __init__(self, command: Sequence[str]):
        self._command = list(command)
        self._process = subprocess.Popen(
            [sys.executable, *self._command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def repeat(self) -> dict[str, float]:
        """Do the job once more; returns what it took."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended, which is said below
            self._process.stdin.write("again\n")
            self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("{"):
                found: dict[str, float] = json.loads(line)
                return found
        sys.exit(f"{' '.join(self._command)} ended with status {self._process.wait()}")

    def close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()


@dataclass(frozen=True)
class Limits:
    """When enough turns were taken.

    Attributes:
        width: of the interval of each ratio that is narrow enough, as a share of the ratio.
        turns: at most so many.
        minutes: at most so long.
        warm_up: turns before, which do not count.
    """

    width: float = 0.05
    turns: int = 40
    minutes: float = 10
    warm_up: int = 1

    @staticmethod
    def add_options(parser: argparse.ArgumentParser, minutes: float = 10) -> None:
        for name, default, text in (
            ("width", 0.05, "of the interval of a ratio that is narrow enough, as a share of it"),
            ("turns", 40, "at most so many for each comparison"),
            ("minutes", minutes, "at most so long for each comparison"),
        ):
            kind = type(default)
            parser.add_argument(f"--{name}", type=kind, default=default, help=f"{text} ({default})")

    @classmethod
    def of(cls, options: argparse.Namespace) -> Limits:
        warm_up = 1 if options.device == "cpu" else 3  # kernels are chosen in the first calls
        return cls(options.width, options.turns, options.minutes, warm_up)


def alternate(
    commands: Mapping[str, Sequence[str]],
    pairs: Sequence[tuple[str, str]],
    limits: Limits,
    *,
    start: Callable[[Sequence[str]], Repeated] = Side,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, dict[str, Any]]:
    """Let sides take turns until the ratios of all pairs are known well enough.

    Every other turn goes backwards through the sides, so that a steady drift favours none.

    Args:
        commands: by name, what each side runs.
        pairs: names of the sides whose ratios are wanted.
        limits: when to stop.
        start: starts a side.
        clock: seconds.

    Returns:
        The figures of each side, with a number per turn: see `figures`.
    """
    sides: dict[str, Repeated] = {}
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    try:
        for name, command in commands.items():
            sides[name] = start(command)
        for _ in range(limits.warm_up):
            for side in sides.values():
                side.repeat()
        end = clock() + 60 * limits.minutes
        for turn in range(limits.turns):
            for name in list(sides) if turn % 2 == 0 else reversed(sides):
                taken[name].append(sides[name].repeat())
            found = {name: figures(turns) for name, turns in taken.items()}
            if turn + 1 >= LEAST and all(
                is_narrow(ratios_of_turns(found[ours], found[theirs]), limits.width)
                for ours, theirs in pairs
            ):
                break
            if clock() >= end:
                break
    finally:
        for side in sides.values():
            side.close()
    for name, one in found.items():
        print(f"{name:32} {one['median_s']:8.3f} s {one['peak_gib']:6.2f} GiB", flush=True)
    return found


def figures(turns: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """A side's numbers per turn; the median of its undisturbed turns; and its peak of memory."""
    found: dict[str, Any] = {
        name: [turn[name] for turn in turns] for name in ("seconds", "cpu_seconds", "outside")
    }
    quiet = quiet_turns(found)
    kept = [found["seconds"][turn] for turn in quiet or range(len(turns))]
    return {
        **found,
        "undisturbed": len(quiet),
        "median_s": statistics.median(kept),
        "peak_gib": max(turn["peak_gib"] for turn in turns),
        "before_gib": turns[0]["before_gib"],
    }
