"""A plan as text with tables and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence

from naslora.core.files import gigabytes
from naslora.core.wording import counted
from naslora.planning.disk import whole
from naslora.planning.estimate import Plan, PlannedRun
from naslora.report.tables.markdown import DASH, grid

_HOUR = 3600.0


def plan_text(plan: Plan, jobs: Sequence[int]) -> str:
    """The plan in words and tables.

    Args:
        plan: the plan.
        jobs: numbers of parallel jobs for which the wall time is estimated.
    """
    study, runs = plan.study, plan.runs
    left = [run for run in runs if not run.evaluated]
    if not left:
        return f"Study {study.study}: all {len(runs)} runs are done; none is left.\n"
    lines = [
        f"Study {study.study}: SAM {study.sam.backbone} at {study.sam.image_size} px, "
        f"{len(runs)} runs, of which {len(runs) - len(left)} are done"
        + _partly(sum(run.trained for run in left)),
        "",
        _by_task(plan),
        "",
        *_by_method(plan),
        "",
    ]
    if any(plan.images[task].counted == "to be generated" for task in study.tasks):
        lines += ["A number with ~ is an estimate: these images have not been generated yet.", ""]
    if plan.unknown:
        lines += [
            f"No rate is known for {', '.join(plan.unknown)}: train one run of each, or measure "
            "them with naslora time. The sums leave them out.",
            "",
        ]
    lines += [
        f"To come: {_of(plan.on, sum(run.device_seconds for run in runs))}, training "
        f"{duration(sum(run.devices * (run.training_s or 0) for run in runs))} and evaluation "
        f"{duration(sum(run.evaluation_s or 0 for run in runs))}; "
        f"{gigabytes(whole(list(plan.disk.values())).total)} of disk.",
        "",
        "Wall time, without queues: "
        + ", ".join(f"{duration(plan.wall_s(n))} with {counted(n, 'job')} at once" for n in jobs)
        + ".",
        "",
        "Not included: reading and checking archives, controls, tables; repeated attempts.",
    ]
    return "\n".join(lines) + "\n"


def plan_json(plan: Plan, jobs: Sequence[int]) -> str:
    """The whole plan as JSON, run by run, in seconds and bytes."""
    value = {
        "schema_version": 1,
        "study": plan.study.study,
        "hours_of": plan.on,
        "device_seconds": sum(run.device_seconds for run in plan.runs),
        "wall_seconds": {str(n): plan.wall_s(n) for n in jobs},
        "unknown": plan.unknown,
        "rates": {name: vars(rate) for name, rate in plan.rates.items()},
        "tasks": {
            task: {**vars(plan.images[task]), "disk": vars(plan.disk[task])}
            for task in plan.study.tasks
        },
        "runs": [vars(run) for run in plan.runs],
    }
    return json.dumps(value, indent=2) + "\n"


def duration(seconds: float) -> str:
    """Hours, or minutes below one hour, rounded for an estimate."""
    if seconds < _HOUR:
        return _minutes(seconds)
    return f"{_hours(seconds)} h"


def _of(device: str, seconds: float) -> str:
    """For example, `7,962 GPU-hours` or `49 min of a GPU`."""
    if seconds < _HOUR:
        return f"{_minutes(seconds)} of a {device}"
    return f"{_hours(seconds)} {device}-hours"


def _hours(seconds: float) -> str:
    value = seconds / _HOUR
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _minutes(seconds: float) -> str:
    """Minutes, rounded up."""
    return f"{min(59, math.ceil(seconds / 60))} min"


def _partly(trained: int) -> str:
    return f" and {trained} only need their evaluation" if trained else ""


def _by_task(plan: Plan) -> str:
    lines = []
    for task in plan.study.tasks:
        images = plan.images[task]
        mark = {"prepared": "", "published": "", "to be generated": "~"}[images.counted]
        lines.append(
            [
                task,
                *_counts(plan, lambda run, task=task: run.task == task),  # type: ignore[misc]
                f"{mark}{images.train:,}",
                f"{mark}{images.test:,}",
                gigabytes(plan.disk[task].total),
            ]
        )
    head = ["task", "runs", "done", f"{plan.on} time", "training images", "test images", "disk"]
    return grid(head, lines)


def _by_method(plan: Plan) -> list[str]:
    """A table, and the sources of its rates below."""
    lines = []
    sources = list(dict.fromkeys(rate.source for rate in plan.rates.values()))
    for name in plan.study.run_names():
        rate = plan.rates.get(name)
        lines.append(
            [
                name,
                *_counts(plan, lambda run, name=name: run.variant == name),  # type: ignore[misc]
                f"{rate.training_s:.3g}" if rate else DASH,
                f"{rate.evaluation_s:.3g}" if rate else DASH,
                str(sources.index(rate.source) + 1) if rate else DASH,
            ]
        )
    head = ["method or variant", "runs", "done", f"{plan.on} time"]
    head += ["train s/image", "test s/image", "from"]
    listed = [f"{number}. {source}" for number, source in enumerate(sources, start=1)]
    return [grid(head, lines), "", "Sources of the rates:", "", *listed]


def _counts(plan: Plan, belongs: Callable[[PlannedRun], bool]) -> list[str]:
    """The number of runs, the number of those that are done, and the remaining time."""
    runs = [run for run in plan.runs if belongs(run)]
    known = all(run.known for run in runs)
    time = duration(sum(run.device_seconds for run in runs)) if known else DASH
    return [str(len(runs)), str(sum(run.evaluated for run in runs)), time]
