"""Mean scores as JSON, one file per method, for `dvc metrics`: files are rows, keys are columns."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from naslora.core.files import write_json
from naslora.data.benchmarks.contract import get_benchmark
from naslora.study.layout import Layout
from naslora.study.records import CONTROLS
from naslora.study.settings import Study

if TYPE_CHECKING:
    from naslora.results.aggregate import Aggregate


def write_scores(study: Study, records: Aggregate) -> list[Path]:
    """Write the mean over seeds of the metrics that tables show, by task and by test set.

    Scores are in the unit of records. A task with one test set has no level for it; a task without
    records is left out. Files of methods that the study no longer has are removed.

    Raises:
        DiskError: a file cannot be written.
    """
    layout = Layout.of(study)
    written = []
    for variant in (*CONTROLS, *study.run_names()):
        tasks = study.tasks if variant in CONTROLS else study.tasks_of(variant)
        scores = {task: _of_task(records, task, variant) for task in tasks}
        path = layout.metrics / f"{variant}.json"
        write_json(path, {task: found for task, found in scores.items() if found})
        written.append(path)
    for path in set(layout.metrics.glob("*.json")) - set(written):
        path.unlink()
    return written


def _of_task(records: Aggregate, task: str, variant: str) -> dict[str, Any]:
    benchmark = get_benchmark(task)
    found: dict[str, Any] = {}
    for test_set in benchmark.test_sets:
        values = {
            metric: records.values(task, test_set, variant, metric) for metric in benchmark.metrics
        }
        means = {metric: fmean(seeds.values()) for metric, seeds in values.items() if seeds}
        if means:
            found[test_set] = means
    return found.get(benchmark.test_sets[0], {}) if len(benchmark.test_sets) == 1 else found
