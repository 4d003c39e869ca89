"""What a study's records say, asked in the terms of the paper's claims."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import pandas as pd

from naslora.report.aggregate import Aggregate
from naslora.report.tables import Column
from naslora.settings import Study


@dataclass(frozen=True)
class Ratio:
    """A median of ratios over pairs of runs of one task and seed."""

    median: float
    pairs: int


class Evidence:
    """A study and its records."""

    def __init__(self, study: Study, records: Aggregate):
        self.study = study
        self._records = records
        self._epochs = records.losses

    def mean(self, column: Column, variant: str) -> float | None:
        """Mean over seeds of a column's metric, in the column's unit; None without a run."""
        found = self._records.values(column.task, column.test_set, variant, column.metric)
        return statistics.fmean(found.values()) * column.scale if found else None

    def epoch_ratio(self, variant: str, to: str, *, searching: bool) -> Ratio | None:
        """Seconds per epoch of one method over another's, of runs of one task and seed.

        Args:
            variant: the method in the numerator, over its epochs with or without alpha.
            to: the method in the denominator, over all of its epochs.
            searching: whether to take the epochs in which alpha is trained.
        """
        epochs = self._epochs
        above = _seconds(
            epochs[(epochs["variant"] == variant) & (epochs["searching"] == searching)]
        )
        below = _seconds(epochs[epochs["variant"] == to])
        ratios = (above / below).dropna()
        if ratios.empty:
            return None
        return Ratio(statistics.median(ratios), len(ratios))


def _seconds(epochs: pd.DataFrame) -> pd.Series[float]:
    """Median seconds per epoch of each task and seed; the first epoch also warms up."""
    warm = epochs[(epochs["epoch"] > 1) & epochs["seconds"].notna()]
    return warm.groupby(["task", "seed"])["seconds"].median()
