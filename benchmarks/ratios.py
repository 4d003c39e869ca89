"""Ratios of two sides that took turns: their median, its interval, and when there is none.

A turn on a CPU counts if other processes used at most `QUIET` of it during the jobs of both sides.
The interval of the median is from order statistics and assumes no distribution. Turns are added
until the interval is narrow enough, so it covers the median slightly less often than 95 %.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from naslora.core.files import write_json
from naslora.study.provenance import provenance

# The largest share of the machine's processors that other processes may use during a job.
QUIET = 0.05
# With fewer values, the smallest and the largest are not a 95 % interval of the median.
LEAST = 6
Line = dict[str, Any]
Figures = Mapping[str, Any]


def median_interval(
    values: Sequence[float], confidence: float = 0.95
) -> tuple[float, float] | None:
    """A confidence interval of the median, between two of the values.

    The number of values below the median is binomial, whatever their distribution. For sorted
    values x[1..n], the median is outside of x[k]..x[n+1-k] with twice the probability that fewer
    than k values are below it.

    Returns:
        The interval; None if there are too few values.
    """
    n, low, probability = len(values), 0, 0.0
    while low < n // 2:
        probability += math.comb(n, low) / 2**n
        if 2 * probability > 1 - confidence:
            break
        low += 1
    if low == 0:
        return None
    ordered = sorted(values)
    return ordered[low - 1], ordered[n - low]


def quiet_turns(*sides: Figures) -> list[int]:
    """The turns of these sides that no other process disturbed."""
    turns = zip(*(side["outside"] for side in sides), strict=True)
    return [turn for turn, outside in enumerate(turns) if max(outside) <= QUIET]


def ratios_of_turns(ours: Figures, theirs: Figures, what: str = "seconds") -> list[float]:
    """The ratio of each undisturbed turn."""
    return [ours[what][turn] / theirs[what][turn] for turn in quiet_turns(ours, theirs)]


def is_narrow(ratios: Sequence[float], width: float) -> bool:
    """Whether the interval of the median is at most `width` wide, as a share of the median."""
    interval = median_interval(ratios)
    return interval is not None and interval[1] - interval[0] <= width * statistics.median(ratios)


def time_ratio(question: str, ours: Figures, theirs: Figures, target: float | None) -> Line:
    """The median ratio of the wall times of single turns, and its interval.

    In a turn, both sides ran one right after the other, so that a machine that is slow for some
    minutes is slow for both. Processor time, which excludes waiting, is reported next to wall time.
    There is no ratio if too few turns were undisturbed.
    """
    if reason := failure(ours, theirs):
        return ratio(question, None, target, reason)
    turns = len(ours["seconds"])
    wall, processor = (ratios_of_turns(ours, theirs, of) for of in ("seconds", "cpu_seconds"))
    interval = median_interval(wall)
    if interval is None:
        note = f"not measured: {len(wall)} of {turns} turns undisturbed, {LEAST} needed"
        return ratio(question, None, target, note)
    note = (
        f"{interval[0]:.3f} to {interval[1]:.3f}, processor time"
        f" {statistics.median(processor):.3f}; {len(wall)} of {turns} turns"
    )
    return {**ratio(question, statistics.median(wall), target, note), "interval": list(interval)}


def failure(*sides: Figures) -> str | None:
    """Why one of these sides has no figures; None if all have."""
    return next((str(side["failed"]) for side in sides if "failed" in side), None)


def memory_ratios(
    question: str, what: str, ours: Figures, theirs: Figures, target: float | None
) -> list[Line]:
    """The ratio of the peak memory of whole processes, and that of the memory that a job adds.

    Args:
        question: what is measured, such as "step memory".
        what: the names of the sides.
        ours: figures of the numerator.
        theirs: figures of the denominator.
        target: of the first ratio.
    """
    beyond = f"{question} beyond code and weights: {what}"
    if reason := failure(ours, theirs):
        return [
            ratio(f"{question}: {what}", None, target, reason),
            ratio(beyond, None, None, reason),
        ]
    if not theirs["peak_gib"]:
        return [ratio(f"{question}: {what}", None, target, "not measured: all in one process")]
    peaks = ours["peak_gib"] / theirs["peak_gib"]
    growths = [side["peak_gib"] - side["before_gib"] for side in (ours, theirs)]
    added = growths[0] / growths[1] if growths[1] > 0 else None
    return [ratio(f"{question}: {what}", peaks, target), ratio(beyond, added, None)]


def share_of_peak(question: str, rate: float | None, peak: float | None) -> Line:
    """A rate as a share of the measured peak rate, which it cannot exceed.

    Args:
        question: what is measured.
        rate: the rate; None if it was not measured.
        peak: the peak rate in the same unit; None if it was not measured.
    """
    if not rate or not peak:
        return ratio(question, None, None, "not measured: too few turns undisturbed")
    share = rate / peak
    if share > 1:
        note = f"refused: a share of {share:.2f} is impossible; measure again on an idle machine"
        return ratio(question, None, None, note)
    return ratio(question, share, None)


def ratio(question: str, value: float | None, target: float | None, note: str = "") -> Line:
    """One line of the table of all ratios.

    Args:
        question: the numerator and the denominator.
        value: the ratio; None if it could not be measured, which the note explains.
        target: the largest value that is good enough, if there is one.
        note: how it was measured.

    Raises:
        ValueError: the value cannot be a ratio: it is negative or not finite.
    """
    if value is not None and not 0 <= value < math.inf:
        raise ValueError(f"{question}: {value} is no ratio")
    return {"question": question, "value": value, "target": target, "note": note}


def verdict(line: Line) -> str:
    """Whether a line meets its target, and whether the target is within its interval."""
    value, target = line["value"], line["target"]
    if value is None:
        return "not measured"
    if target is None:
        return ""
    found = "met" if round(value, 3) <= target else "missed"  # rounded as it is printed
    interval = line.get("interval")
    if interval and interval[0] <= target <= interval[1]:
        found += ", within the interval"
    return found


def write(path: Path | None, settings: Mapping[str, Any], **content: Any) -> None:
    """Write the results, with the machine that they were measured on; print the ratios."""
    for line in content["ratios"]:
        value = "-" if line["value"] is None else f"{line['value']:.3f}"
        wanted = "" if line["target"] is None else f"  (target {line['target']:g})"
        note = f"  ({line['note']})" if line["note"] else ""
        print(f"{line['question']}: {value}{wanted}{note}", flush=True)
    if path is not None:
        plain = {k: str(v) if isinstance(v, Path) else v for k, v in settings.items()}
        about = provenance(torch.device(plain.get("device", "cpu"))).model_dump(mode="json")
        write_json(path, {"settings": plain, **content, **about})
