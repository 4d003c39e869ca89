"""The model of a table: methods in rows, metrics in columns, made from a study's records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from naslora.records import CONTROLS
from naslora.report.aggregate import Aggregate
from naslora.report.cells import Cell
from naslora.report.published import METHOD_ROWS, Printed, printed
from naslora.settings import Study

PAPER_BACKBONE, PAPER_IMAGE_SIZE = "vit_h", 1024
PAPER_TRAINING = {
    "epochs": 40,
    "batch_size": 4,
    "learning_rate": 1e-4,
    "weight_decay": 1e-4,
    "horizontal_flip": 0.5,
    "lambda_seg": 1.0,
    "lambda_cls": 2.0,
}
PAPER_ARCHITECTURE = {
    "start_epoch": 10,
    "alternation": "stage_wise",
    "learning_rate": 1e-3,
    "weight_decay": 1e-3,
}


@dataclass(frozen=True)
class Column:
    """A metric on a test set, as a column of the paper's table.

    Attributes:
        key: the column's name among the published numbers, and in our CSV.
        title: the column's heading.
        task: the task whose runs are evaluated.
        test_set: the test set of the task.
        metric: the metric's name in records.
        scale: from a record's unit to the column's.
        higher_is_better: which end is good.
        decimals: digits after the point in readable tables.
        test_images: how many test images the paper may have had; another number of images is
            another test set, so not comparable.
    """

    key: str
    title: str
    task: str
    test_set: str
    metric: str
    test_images: tuple[int, ...]
    scale: float = 100.0
    higher_is_better: bool = True
    decimals: int = 1

    @property
    def arrow(self) -> str:
        return "↑" if self.higher_is_better else "↓"


@dataclass(frozen=True)
class Row:
    """A control or a method, with a cell per column.

    `trainable` and `total` count parameters; None where no run tells, or runs do not agree.
    """

    name: str
    title: str
    control: bool
    trainable: int | None
    total: int | None
    printed_params: Printed | None
    printed_ratio: Printed | None
    cells: tuple[Cell, ...]

    @property
    def params_m(self) -> float | None:
        """Trainable parameters, millions."""
        return self.trainable / 1e6 if self.trainable is not None else None

    @property
    def ratio(self) -> float | None:
        """Trainable parameters, percent of all."""
        if self.trainable is None or self.total is None:
            return None
        return 100 * self.trainable / self.total


@dataclass(frozen=True)
class Table:
    """A table of the paper, regenerated: rows of controls first, then methods.

    `sections` are titled lists of sentences that belong under the table.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    sections: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def controls(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.control)

    @property
    def methods(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if not row.control)


def method_rows(
    study: Study, records: Aggregate, table: str, columns: Sequence[Column]
) -> tuple[Row, ...]:
    """The two controls, then the study's methods in its order.

    Args:
        study: says which runs there should be.
        records: what there is.
        table: the table of the paper to set beside them.
        columns: the columns to fill.
    """
    controls = [_row(name, study, records, table, columns) for name in CONTROLS]
    return (*controls, *(_row(name, study, records, table, columns) for name in study.methods))


def why_not_comparable(study: Study, task: str) -> list[str]:
    """In what the study's setting of a task differs from the paper's; empty if in nothing."""
    reasons = []
    if study.sam.backbone != PAPER_BACKBONE:
        reasons.append(f"the backbone is {study.sam.backbone}, not {PAPER_BACKBONE}")
    if study.sam.image_size != PAPER_IMAGE_SIZE:
        reasons.append(f"images have {study.sam.image_size} px, not {PAPER_IMAGE_SIZE}")
    if study.sam.checkpoint != "official":
        reasons.append(f"the checkpoint is {study.sam.checkpoint}, not SAM's official one")
    if task in study.generated:
        reasons.append("the images are generated")
    training = study.training
    for settings, paper, prefix in (
        (training, PAPER_TRAINING, "training."),
        (training.architecture, PAPER_ARCHITECTURE, "training.architecture."),
    ):
        for name, value in paper.items():
            ours = getattr(settings, name)
            if ours != value:
                reasons.append(f"{prefix}{name} is {ours}, not {value}")
    if study.method_settings:
        reasons.append(f"method_settings changes {', '.join(sorted(study.method_settings))}")
    return reasons


def image_counts(records: Aggregate, task: str, test_set: str) -> list[int]:
    """The distinct numbers of test images in the records of a task's test set."""
    runs = records.runs
    chosen = runs[(runs["task"] == task) & (runs["status"] == "done")]
    return sorted({images[test_set] for images in chosen["images"] if test_set in images})


def _row(name: str, study: Study, records: Aggregate, table: str, columns: Sequence[Column]) -> Row:
    printed_row = METHOD_ROWS.get(name)
    tasks = {column.task for column in columns}
    mine = records.runs[(records.runs["variant"] == name) & records.runs["task"].isin(tasks)]
    return Row(
        name=name,
        title=CONTROLS.get(name) or run_title(records, name),
        control=name in CONTROLS,
        trainable=_only(mine["trainable_parameters"]),
        total=_only(mine["total_parameters"]),
        printed_params=printed(table, printed_row, "params_m") if printed_row else None,
        printed_ratio=printed(table, printed_row, "ratio_pct") if printed_row else None,
        cells=tuple(_cell(name, study, records, table, column) for column in columns),
    )


def run_title(records: Aggregate, variant: str) -> str:
    """The name of a run in tables and legends.

    The paper's for its methods; for others what their records say; else the variant's key.
    """
    found = records.runs.loc[records.runs["variant"] == variant, ["method", "title"]]
    own = found[found["method"] == variant]["title"]
    return METHOD_ROWS.get(variant) or (str(own.iloc[0]) if len(own) else variant)


def _only(values: pd.Series) -> int | None:
    distinct = set(values.dropna())
    return int(distinct.pop()) if len(distinct) == 1 else None


def _cell(name: str, study: Study, records: Aggregate, table: str, column: Column) -> Cell:
    seeds = [0] if name in CONTROLS else study.seeds
    scores = records.scores
    mine = scores[
        (scores["task"] == column.task)
        & (scores["test_set"] == column.test_set)
        & (scores["variant"] == name)
        & (scores["metric"] == column.metric)
        & scores["seed"].isin(seeds)
    ].sort_values("seed")
    printed_row = METHOD_ROWS.get(name)
    counts = image_counts(records, column.task, column.test_set)
    same_images = all(count in column.test_images for count in counts)
    return Cell(
        values=tuple(float(value) * column.scale for value in mine["value"]),
        status=_status(name, seeds, set(mine["seed"]), records, column),
        printed=printed(table, printed_row, column.key) if printed_row else None,
        comparable=same_images and not why_not_comparable(study, column.task),
    )


def _status(
    name: str, seeds: Sequence[int], done: set[int], records: Aggregate, column: Column
) -> str:
    """`done`, or how many of the seeds are missing, unreadable, diverged or failed."""
    runs = records.runs[(records.runs["task"] == column.task) & (records.runs["variant"] == name)]
    known = dict(zip(runs["seed"], runs["status"], strict=True))
    left_out = {problem.run for problem in records.problems}
    statuses: Counter[str] = Counter()
    for seed in seeds:
        if seed in done:
            continue
        if (column.task, name, seed) in left_out:
            statuses["left out"] += 1
        elif known.get(seed) == "done":
            statuses["not measured"] += 1
        else:
            statuses[known.get(seed, "missing")] += 1
    if not statuses:
        return "done"
    if list(statuses.values()) == [len(seeds)]:
        return next(iter(statuses))
    counted = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
    return f"{counted} of {len(seeds)}"
