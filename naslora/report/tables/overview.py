"""The overview of a study: the main metric of every test set, one column each."""

from __future__ import annotations

from naslora.data.benchmarks.contract import get_benchmark
from naslora.evaluation.names import main_metric
from naslora.report.figures.captions import test_set_title
from naslora.report.tables.model import Column, TableSpec, metric_column
from naslora.study.settings import Study

NAME = "overview"


def overview(study: Study) -> TableSpec:
    """The main metric of every test set of a study's tasks, for all methods."""
    columns = [column for task in study.tasks for column in _columns(task)]
    return TableSpec(
        "", "Main metric of every test set", tuple(columns), key=NAME, parameters=False
    )


def _columns(task: str) -> list[Column]:
    benchmark = get_benchmark(task)
    metric = main_metric(benchmark.metrics)
    return [
        metric_column(f"{task}_{test_set}", test_set_title(task, test_set), task, test_set, metric)
        for test_set in benchmark.test_sets
    ]
