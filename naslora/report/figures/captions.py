"""Phrases that captions of figures share."""

from __future__ import annotations

from naslora.data.benchmarks.contract import get_benchmark
from naslora.study.settings import Study

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
