"""Sides of a comparison: processes that each repeat one job, in turn, whenever they are told to.

Both sides of a ratio are measured alternately, so that whatever else the machine does falls on
both, and each in a process of its own, so that each has a peak of memory of its own. The peak is
of the whole process, Python and torch included, as it would be in a job.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from naslora.core.files import write_json
from naslora.study.provenance import peak_memory_bytes, provenance


def serve(job: Callable[[], object], device: torch.device) -> None:
    """Repeat a job for each line on the standard input; say what it took on the standard output."""
    before = peak_memory_bytes(device)
    for _ in sys.stdin:
        wall, processor = time.perf_counter(), time.process_time()
        job()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        found = {
            "seconds": time.perf_counter() - wall,
            "cpu_seconds": time.process_time() - processor,
            "peak_gib": peak_memory_bytes(device) / 2**30,
            "before_gib": before / 2**30,
        }
        print(json.dumps(found), flush=True)


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
        self.repeats: list[dict[str, float]] = []

    def repeat(self, *, count: bool = True) -> None:
        """Do the job once more, and note what it took unless it is to warm up."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended, which is said below
            self._process.stdin.write("again\n")
            self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("{"):
                if count:
                    self.repeats.append(json.loads(line))
                return
        sys.exit(f"{' '.join(self._command)} ended with status {self._process.wait()}")

    def close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()

    def figures(self) -> dict[str, Any]:
        """Seconds of each repeat, their median, and the peak of memory; also before the first."""
        seconds = [one["seconds"] for one in self.repeats]
        return {
            "seconds": seconds,
            "median_s": statistics.median(seconds),
            "cpu_seconds": [one["cpu_seconds"] for one in self.repeats],
            "peak_gib": max(one["peak_gib"] for one in self.repeats),
            "before_gib": self.repeats[0]["before_gib"],
        }


def alternate(
    commands: Mapping[str, Sequence[str]], *, repeats: int, warm_up: int = 1
) -> dict[str, dict[str, Any]]:
    """Start a side for each command, let them take turns, and return their figures by name."""
    sides = {name: Side(command) for name, command in commands.items()}
    try:
        for turn in range(warm_up + repeats):
            for side in sides.values():
                side.repeat(count=turn >= warm_up)
    finally:
        for side in sides.values():
            side.close()
    for name, side in sides.items():
        figures = side.figures()
        print(f"{name:32} {figures['median_s']:8.2f} s {figures['peak_gib']:6.2f} GiB", flush=True)
    return {name: side.figures() for name, side in sides.items()}


def time_ratio(
    question: str,
    ours: Mapping[str, Any],
    theirs: Mapping[str, Any],
    target: float | None,
) -> dict[str, Any]:
    """The median of the ratios of single turns, with the smallest and the largest of them.

    In a turn, both sides ran one right after the other, so that a machine that is slow for some
    minutes is slow for both.
    """
    turns = [a / b for a, b in zip(ours["seconds"], theirs["seconds"], strict=True)]
    spread = [min(turns), max(turns)]
    note = f"{len(turns)} turns, {spread[0]:.2f} to {spread[1]:.2f}"
    return {**ratio(question, statistics.median(turns), target, note), "spread": spread}


def ratio(question: str, value: float, target: float | None, note: str = "") -> dict[str, Any]:
    """One line of the table of all ratios; a target is the largest value that is good enough."""
    return {"question": question, "value": value, "target": target, "note": note}


def write(path: Path | None, settings: Mapping[str, Any], **content: Any) -> None:
    """Write what was found, with the machine that it was found on; print the ratios."""
    for line in content["ratios"]:
        wanted = "" if line["target"] is None else f"  (target {line['target']:g})"
        print(f"{line['question']}: {line['value']:.3f}{wanted}", flush=True)
    if path is not None:
        plain = {k: str(v) if isinstance(v, Path) else v for k, v in settings.items()}
        about = provenance(torch.device(plain.get("device", "cpu"))).model_dump(mode="json")
        write_json(path, {"settings": plain, **content, **about})
