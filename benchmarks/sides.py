"""Sides of a comparison: processes that each repeat one job, in turns.

All sides are measured alternately, one job at a time, so that other load on the machine affects all
of them, and each in a separate process, so that each has its own peak memory. The peak is that of
the whole process, including Python and torch, which is what a job has to request. Turns are taken
until the intervals of the ratios are narrow enough; see `ratios.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import psutil
import torch
from ratios import LEAST, is_narrow, quiet_turns, ratios_of_turns

from naslora.study.provenance import peak_memory_bytes

# A shorter job is repeated within its turn, because the system counts its load in hundredths of a
# second.
_LEAST_SECONDS = 0.25


def busy_seconds() -> float:
    """Seconds that all processors of this machine have been busy since it was started."""
    times = psutil.cpu_times()
    names = ("user", "nice", "system", "irq", "softirq", "steal")
    return float(sum(getattr(times, name, 0.0) for name in names))


@dataclass(frozen=True)
class Clocks:
    """Three clocks, in seconds, and the number of processors.

    Attributes:
        wall: wall time.
        processor: processor time of this process, summed over its threads.
        busy: busy time of the machine, summed over its processors.
        processors: number of processors of the machine.
    """

    wall: Callable[[], float] = time.perf_counter
    processor: Callable[[], float] = time.process_time
    busy: Callable[[], float] = busy_seconds
    processors: int = psutil.cpu_count() or 1

    def now(self) -> tuple[float, float, float]:
        return self.wall(), self.processor(), self.busy()


class Timer:
    """Measures the time of a job, and the other load on the machine."""

    def __init__(
        self,
        job: Callable[[], object],
        clocks: Clocks | None = None,
        least_seconds: float = _LEAST_SECONDS,
    ):
        self._job = job
        self._least_seconds = least_seconds
        self._clocks = clocks or Clocks()
        self._times = 1

    def turn(self) -> dict[str, float]:
        """Do the job, several times if it is short.

        Returns:
            Wall and processor seconds of one job; and `outside`, the share of the machine's
            processors that other processes used.
        """
        before = self._clocks.now()
        for _ in range(self._times):
            self._job()
        wall, own, busy = (b - a for a, b in zip(before, self._clocks.now(), strict=True))
        outside = max(0.0, busy - own) / (wall * self._clocks.processors)
        found = {"seconds": wall / self._times, "cpu_seconds": own / self._times}
        self._times = max(1, round(self._least_seconds / max(found["seconds"], 1e-6)))
        return {**found, "outside": outside}


def prepared(job: Callable[[], object], device: torch.device) -> Callable[[], dict[str, float]]:
    """Make a function that does the job and returns its time and memory."""

    def whole() -> None:
        job()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    def turn() -> dict[str, float]:
        on_gpu = device.type == "cuda"
        if on_gpu:
            whole()  # allocates the memory again that was released below
        found = timer.turn()
        peak = peak_memory_bytes(device)
        if on_gpu:
            found["outside"] = 0.0  # load on the processors does not disturb a GPU
            torch.cuda.empty_cache()  # the other sides need the GPU's memory in their turns
        return {**found, "peak_gib": peak / 2**30, "before_gib": before / 2**30}

    before = peak_memory_bytes(device)
    timer = Timer(whole)
    return turn


def serve(job: Callable[[], object], device: torch.device) -> None:
    """Do a job for each line of standard input; write its time and memory to standard output."""
    turn = prepared(job, device)
    for _ in sys.stdin:
        print(json.dumps(turn()), flush=True)


class Repeated(Protocol):
    """A side that takes turns."""

    def repeat(self) -> dict[str, float]: ...

    def close(self) -> None: ...


class SideError(Exception):
    """A side that ended, with the last line of its output."""


class Here:
    """A job in this process, to try a comparison; its memory is not measured."""

    def __init__(self, job: Callable[[], object]):
        self._timer = Timer(job, least_seconds=0)

    def repeat(self) -> dict[str, float]:
        try:
            return {**self._timer.turn(), "peak_gib": 0.0, "before_gib": 0.0}
        except Exception as error:  # which would end a separate process
            raise SideError(str(error).partition("\n")[0]) from error

    def close(self) -> None:
        pass


class Side:
    """A process that serves a job; see `serve`."""

    def __init__(self, command: Sequence[str]):
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the side
        self._process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def repeat(self) -> dict[str, float]:
        """Do the job once more; returns its time and memory.

        Raises:
            SideError: the process has ended, because of an error or for lack of memory.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # the process has ended, which is reported below
            self._process.stdin.write("again\n")
            self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("{"):
                found: dict[str, float] = json.loads(line)
                return found
        status = self._process.wait()
        self._errors.seek(0)
        said = [line.strip() for line in self._errors if line.strip()]
        raise SideError(f"ended with status {status}: {said[-1][:300] if said else 'no message'}")

    def close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._errors.close()


@dataclass(frozen=True)
class Limits:
    """When to stop taking turns.

    Attributes:
        width: width of each ratio's interval at which to stop, as a share of the ratio.
        turns: maximum number of turns.
        minutes: maximum time.
        warm_up: turns at the start that do not count.
    """

    width: float = 0.05
    turns: int = 40
    minutes: float = 10
    warm_up: int = 1

    @staticmethod
    def add_options(parser: argparse.ArgumentParser, minutes: float = 10) -> None:
        for name, default, text in (
            ("width", 0.05, "stop if the intervals are this narrow, as a share of their ratios"),
            ("turns", 40, "maximum number of turns of each comparison"),
            ("minutes", minutes, "maximum time of each comparison"),
        ):
            kind = type(default)
            parser.add_argument(f"--{name}", type=kind, default=default, help=f"{text} ({default})")
        parser.add_argument(
            "--one-process", action="store_true", help="for a trial: memory is not measured"
        )

    @classmethod
    def of(cls, options: argparse.Namespace) -> Limits:
        warm_up = 1 if options.device == "cpu" else 3  # the first calls choose kernels
        return cls(options.width, options.turns, options.minutes, warm_up)


def alternate(
    commands: Mapping[str, Sequence[str]],
    pairs: Sequence[tuple[str, str]],
    limits: Limits,
    *,
    start: Callable[[Sequence[str]], Repeated] = Side,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, dict[str, Any]]:
    """Let sides take turns until the intervals of all pairs' ratios are narrow enough.

    Every other turn goes backwards through the sides, so that a steady drift favours none.

    Args:
        commands: the command of each side, by name.
        pairs: names of the sides whose ratios are wanted.
        limits: when to stop.
        start: starts a side.
        clock: seconds.

    Returns:
        The figures of each side, with a number per turn: see `figures`. For a side that ended
        early, only `failed`, the reason.
    """
    sides: dict[str, Repeated] = {}
    failed: dict[str, str] = {}

    def repeat(name: str) -> None:
        try:
            taken[name].append(sides[name].repeat())
        except SideError as error:
            failed[name] = str(error)
            sides.pop(name).close()

    taken: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    try:
        for name, command in commands.items():
            sides[name] = start(command)
        for _ in range(limits.warm_up):
            for name in list(sides):
                repeat(name)
        for turns in taken.values():
            turns.clear()
        end = clock() + 60 * limits.minutes
        for turn in range(limits.turns):
            for name in list(sides)[:: 1 if turn % 2 == 0 else -1]:
                repeat(name)
            found = {name: figures(taken[name]) for name in sides}
            if turn + 1 >= LEAST and all(
                is_narrow(ratios_of_turns(found[ours], found[theirs]), limits.width)
                for ours, theirs in pairs
                if ours in found and theirs in found
            ):
                break
            if clock() >= end:
                break
    finally:
        for side in sides.values():
            side.close()
    for name, one in found.items():
        print(f"{name:32} {one['median_s']:8.3f} s {one['peak_gib']:6.2f} GiB", flush=True)
    for name, reason in failed.items():
        print(f"{name:32} {reason}", flush=True)
        found[name] = {"failed": reason}
    return found


def figures(turns: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """A side's numbers per turn, the median of its undisturbed turns, and its peak memory."""
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
