"""The table of tasks that are not in the paper, such as users' data sets."""

from __future__ import annotations

from naslora.data.benchmarks.contract import get_benchmark
from naslora.report.tables import ablations, table1, table2, table3
from naslora.report.tables.model import Column, TableSpec, metric_column
from naslora.study.settings import Study

NAME = "own"
_PAPER_TASKS = {
    task
    for table in (table1.TABLE, table2.TABLE, table3.TABLE, *ablations.TABLES)
    for task in table.tasks
}


def own_tasks(study: Study) -> list[str]:
    """The study's tasks that are in no table of the paper."""
    return [task for task in study.tasks if task not in _PAPER_TASKS]


def has_paper_tasks(study: Study) -> bool:
    """Whether any of the study's tasks is in a table of the paper."""
    return any(task in _PAPER_TASKS for task in study.tasks)


def own_table(study: Study) -> TableSpec:
    """Every metric of every test set of these tasks, for all methods."""
    columns = [column for task in own_tasks(study) for column in _columns(task)]
    return TableSpec(
        "", "Data sets that the paper does not have", tuple(columns), key=NAME, main_metrics=True
    )


def _columns(task: str) -> list[Column]:
    benchmark = get_benchmark(task)
    several = len(benchmark.test_sets) > 1
    return [
        metric_column(
            f"{task}_{test_set}_{metric}" if several else f"{task}_{metric}",
            f"{benchmark.title}, {test_set}" if several else benchmark.title,
            task,
            test_set,
            metric,
        )
        for test_set in benchmark.test_sets
        for metric in benchmark.metrics
    ]
