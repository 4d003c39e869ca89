"""What a study found, in a few lines for the terminal."""

from __future__ import annotations

import io
import shutil

import pandas as pd
from rich.console import Console
from rich.table import Table

from naslora.data.benchmarks.contract import get_benchmark
from naslora.evaluation.names import main_metric, metric_name
from naslora.results.aggregate import Aggregate, aggregate
from naslora.study.layout import Layout
from naslora.study.settings import Study


def results_text(study: Study) -> str:
    """The methods by their mean rank over tasks, and where the study's results are."""
    layout = Layout.of(study)
    records = aggregate(study)
    scores = _scores(study, records)
    ranks = scores.rank(axis="columns", ascending=False)
    table = Table(box=None, pad_edge=False, title=f"Study {study.study}", title_justify="left")
    table.add_column("method")
    table.add_column("mean rank", justify="right")
    table.add_column("first in", justify="right")
    for method, mean in ranks.mean().sort_values(kind="stable").items():
        best = int((ranks[method] == 1).sum())
        tasks = f"{best} of {len(ranks)} tasks"
        table.add_row(records.titles.get(str(method), str(method)), f"{mean:.2f}", tasks)
    console = Console(file=io.StringIO(), width=shutil.get_terminal_size().columns)
    if table.row_count:
        console.print(table)
    places = {"tables": layout.tables, "figures": layout.figures, "all in one page": layout.report}
    for name, path in places.items():
        if path.exists():
            console.print(f"{name}: {path}", soft_wrap=True, highlight=False)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue().rstrip()


def _scores(study: Study, records: Aggregate) -> pd.DataFrame:
    """The main metric by task (rows) and method, the mean over seeds and test sets; more is better.

    Methods that lack a task are left out.
    """
    found: dict[str, dict[str, float]] = {}
    for task in study.tasks:
        benchmark = get_benchmark(task)
        metric = main_metric(benchmark.metrics)
        for method in study.methods:
            values = [
                value
                for test_set in benchmark.test_sets
                for value in records.values(task, test_set, method, metric).values()
            ]
            if values:
                mean = metric_name(metric).sign * sum(values) / len(values)
                found.setdefault(method, {})[task] = mean
    return pd.DataFrame(found, index=study.tasks).dropna(how="all").dropna(axis="columns")
