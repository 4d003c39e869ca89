"""All scores of all tasks: a table for each test set, and one CSV file."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from naslora.core.files import write_text
from naslora.data.benchmarks.contract import get_benchmark
from naslora.report.tables.cells import Cell
from naslora.report.tables.filling import cell_of
from naslora.report.tables.markdown import grid, plain
from naslora.report.tables.model import Column, metric_column, row_title
from naslora.report.tables.writers import value_text
from naslora.results.aggregate import Aggregate
from naslora.study.layout import Layout
from naslora.study.records import CONTROLS
from naslora.study.settings import Study

NAME = "scores"


def write_all_scores(study: Study, records: Aggregate) -> None:
    """Write the means over seeds of all metrics on test sets with images, as CSV and Markdown.

    Raises:
        DiskError: a file cannot be written.
    """
    layout = Layout.of(study)
    found = [
        (name, column, cell_of(name, _seeds(study, name), records, column, None, False))
        for task in study.tasks
        for column in _columns(task)
        if records.has_images(task, column.test_set)
        for name in (*CONTROLS, *study.run_names(task))
    ]
    write_text(layout.table(NAME, "csv"), _csv_text(study, records, found))
    write_text(layout.table(NAME, "md"), _markdown_text(study, records, found))


def _columns(task: str) -> list[Column]:
    """One per test set and metric, in the benchmark's order."""
    benchmark = get_benchmark(task)
    return [
        metric_column(f"{test_set}_{metric}", "", task, test_set, metric)
        for test_set in benchmark.test_sets
        for metric in benchmark.metrics
    ]


def _seeds(study: Study, name: str) -> Sequence[int]:
    return [0] if name in CONTROLS else study.seeds


def _csv_text(study: Study, records: Aggregate, found: list[tuple[str, Column, Cell]]) -> str:
    """One line per task, test set, metric and row; in the units of the tables."""
    lines = [
        {
            "task": column.task,
            "test_set": column.test_set,
            "metric": column.metric,
            "method": name,
            "title": row_title(study, records, name),
            "mean": cell.value,
            "std": cell.std,
            "n": cell.n,
        }
        for name, column, cell in found
    ]
    return pd.DataFrame(lines, dtype=object).to_csv(index=False, lineterminator="\n")


def _markdown_text(study: Study, records: Aggregate, found: list[tuple[str, Column, Cell]]) -> str:
    parts = [
        f"# All scores, study {plain(study.study)}",
        "In percent, except MAE, which is of class numbers"
        + (
            f": mean ± sample standard deviation over {len(study.seeds)} seeds."
            if len(study.seeds) > 1
            else "; of one seed."
        )
        + " Metrics are defined in docs/metrics.md.",
    ]
    places = dict.fromkeys((column.task, column.test_set) for _, column, _ in found)
    for task, test_set in places:
        here = [item for item in found if (item[1].task, item[1].test_set) == (task, test_set)]
        columns = list(dict.fromkeys(column for _, column, _ in here))
        cells = {(name, column.key): cell for name, column, cell in here}
        lines = [
            [row_title(study, records, name), *(value_text(cells[name, c.key], c) for c in columns)]
            for name in dict.fromkeys(name for name, _, _ in here)
        ]
        head = ["Method", *(f"{column.title} {column.arrow}" for column in columns)]
        parts += [f"## {plain(get_benchmark(task).title)}, {test_set}", grid(head, lines)]
    return "\n\n".join(parts) + "\n"
