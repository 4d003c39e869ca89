"""The table of statuses: counts of runs by task and method, and failures with their messages."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pandas as pd

from naslora.core.files import write_text
from naslora.report.tables.markdown import DASH, bullets, grid, plain
from naslora.report.tables.model import row_title
from naslora.results.aggregate import Aggregate
from naslora.study.layout import Layout
from naslora.study.records import CONTROLS
from naslora.study.settings import Study

STATUSES = ("done", "diverged", "failed", "interrupted", "left out", "missing")


@dataclass(frozen=True)
class RunCounts:
    """The runs of one control, method or variant on one task.

    `counts` has every one of `STATUSES`; they add up to the runs that the study plans.
    """

    task: str
    variant: str
    title: str
    counts: Counter[str]

    @property
    def planned(self) -> int:
        return self.counts.total()

    @property
    def text(self) -> str:
        """Done of planned, such as `3/3`, and how the others ended."""
        others = {status: n for status, n in self.counts.items() if n and status != "done"}
        if list(others.values()) == [self.planned]:
            return next(iter(others))
        ended = ", ".join(f"{n} {status}" for status, n in others.items())
        done = f"{self.counts['done']}/{self.planned}"
        return f"{done} ({ended})" if ended else done


def run_counts(study: Study, records: Aggregate) -> list[RunCounts]:
    """One per task and row: controls, methods, then variants, in the study's order."""
    found = []
    for task in study.tasks:
        for name in (*CONTROLS, *study.run_names(task)):
            seeds = [0] if name in CONTROLS else study.seeds
            ended = Counter(records.status(task, name, seed) for seed in seeds)
            counts = Counter({status: ended[status] for status in STATUSES})
            found.append(RunCounts(task, name, row_title(study, records, name), counts))
    return found


def write_status(study: Study, records: Aggregate) -> None:
    """Write the table of statuses as CSV and Markdown.

    Raises:
        DiskError: a file cannot be written.
    """
    layout, found = Layout.of(study), run_counts(study, records)
    write_text(layout.table("status", "csv"), _csv_text(found))
    write_text(layout.table("status", "md"), _markdown_text(study, records, found))


def _csv_text(found: list[RunCounts]) -> str:
    lines = [
        {
            "task": one.task,
            "variant": one.variant,
            "title": one.title,
            "planned": one.planned,
            **{status.replace(" ", "_"): one.counts[status] for status in STATUSES},
        }
        for one in found
    ]
    return pd.DataFrame(lines).to_csv(index=False, lineterminator="\n")


def _markdown_text(study: Study, records: Aggregate, found: list[RunCounts]) -> str:
    total = sum((one.counts for one in found), Counter({status: 0 for status in STATUSES}))
    sums = grid(
        ["Status", "Runs"],
        [[status, str(total[status])] for status in STATUSES] + [["all", str(total.total())]],
    )
    parts = [f"# Status, study {plain(study.study)}", sums, "## By task", _matrix(study, found)]
    failures = _failures(records)
    if failures:
        parts += ["## Not done", bullets(failures)]
    if records.problems:
        root = Layout.of(study).root
        parts += ["## Records left out", bullets([p.line(root) for p in records.problems])]
    return "\n\n".join(parts) + "\n"


def _matrix(study: Study, found: list[RunCounts]) -> str:
    """How many of the planned runs are done, and the status of the others; a dash for none."""
    titles = {one.variant: one.title for one in found}
    cells = {(one.task, one.variant): one.text for one in found}
    lines = [
        [titles[name], *(cells.get((task, name), DASH) for task in study.tasks)]
        for name in (*CONTROLS, *study.run_names())
    ]
    return grid(["Row", *study.tasks], lines)


def _failures(records: Aggregate) -> list[str]:
    runs = records.runs[records.runs["status"] != "done"]
    names = ("task", "variant", "seed", "status", "message")
    ended = list(zip(*(runs[name].tolist() for name in names), strict=True))
    ended += [(*run, one.status, one.message) for run, one in records.attempts.items()]
    return [
        f"{task}, {variant}, seed {seed}: {status}: {message or 'no message'}"
        for task, variant, seed, status, message in sorted(ended, key=lambda run: run[:3])
    ]
