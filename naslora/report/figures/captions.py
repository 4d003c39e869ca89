"""Phrases that captions of figures share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from naslora.core.wording import signed
from naslora.data.benchmarks.contract import get_benchmark
from naslora.report.tables.model import row_title
from naslora.study.settings import Study

if TYPE_CHECKING:
    from naslora.results.aggregate import Aggregate

# Test sets that are data sets of their own.
_TEST_SETS = {
    ("cod", "camo"): "CAMO",
    ("cod", "chameleon"): "CHAMELEON",
    ("cod", "cod10k"): "COD10K",
}


def test_set_title(task: str, test_set: str) -> str:
    """The name of a test set in figures; the benchmark's name if it has only one."""
    benchmark = get_benchmark(task)
    if len(benchmark.test_sets) == 1:
        return benchmark.title
    return _TEST_SETS.get((task, test_set), f"{benchmark.title}, {test_set}")


def trained_rows(study: Study) -> list[str]:
    """The rows that a study trains on all tasks: networks other than SAM, then methods."""
    return [name for name in study.networks if study.tasks_of(name) == study.tasks] + study.methods


def all_rows(study: Study) -> list[str]:
    """`trained_rows`, then variants that run on all tasks, and networks that run on some."""
    rows = [*trained_rows(study), *study.general_variants()]
    return [*rows, *(name for name in study.networks if name not in rows)]


def rows_on(study: Study, rows: Iterable[str], tasks: Iterable[str]) -> list[str]:
    """Those of some rows that a study trains on any of some tasks."""
    return [row for row in rows if {*study.tasks_of(row)} & {*tasks}]


def row_label(study: Study, records: Aggregate, row: str) -> str:
    """The name of a row; of one that has one of several tasks, with it: "DeepLabv3 (Leaf)"."""
    title, tasks = row_title(study, records, row), study.tasks_of(row)
    if len(tasks) != 1 or len(study.tasks) == 1:
        return title
    return f"{title.removesuffix(' (scratch)')} ({get_benchmark(tasks[0]).title})"


def printed(difference: float) -> str:
    """A difference with its sign, a minus as axes write it."""
    return signed(difference).replace("-", "\N{MINUS SIGN}")


def setting(study: Study) -> str:
    """A sentence on the study and its SAM."""
    return f"Study {study.study}: SAM {study.sam.backbone} at {study.sam.image_size} px."


def over_seeds(study: Study, what: str) -> str:
    """A sentence on the intervals, or that there are none.

    Args:
        study: whose seeds count.
        what: the intervals, such as "Error bars".
    """
    seeds = len(study.seeds)
    if seeds == 1:
        return "One seed, so without intervals."
    return f"{what}: mean of {seeds} seeds plus and minus one standard deviation."
