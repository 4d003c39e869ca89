"""The metrics of a benchmark: binary or multi-class, by its classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from naslora.evaluation.binary import BINARY_METRICS, BinaryMetrics
from naslora.evaluation.multiclass import MultiClassMetrics, multiclass_metrics

__all__ = [
    "BINARY_METRICS",
    "BinaryMetrics",
    "Metrics",
    "MultiClassMetrics",
    "make_metrics",
    "multiclass_metrics",
]

Metrics = BinaryMetrics | MultiClassMetrics


def make_metrics(classes: Sequence[str], names: Iterable[str]) -> Metrics:
    """Empty metrics for a benchmark.

    Args:
        classes: one foreground class for a binary task; else all classes, background first.
        names: the metrics to compute.

    Raises:
        ValueError: a name is unknown.
    """
    return BinaryMetrics(names) if len(classes) == 1 else MultiClassMetrics(classes, names)
