"""The results of a study, for comparisons in the terms of the paper's claims."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd

from naslora.core.wording import range_of
from naslora.report.tables.cells import CONFIDENCE, half_interval
from naslora.report.tables.model import Column
from naslora.results.aggregate import Aggregate
from naslora.results.comparison import mean_comparison
from naslora.results.costs import machine_titles
from naslora.results.difference import Difference
from naslora.study.settings import Study
from naslora.timing.document import PassName, Timing, read_timings

_NOISE = 1e-9  # differences of decimal numbers are off in the last bits


@dataclass(frozen=True)
class PairedDifference:
    """By how much one side is better than the other in each of several repeats.

    The repeats are seeds or images. For two runs on one metric of one test set, see
    `Evidence.difference`.
    """

    values: tuple[float, ...]

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    def significant_sign(self, comparisons: int = 1) -> int:
        """1 if significantly better, -1 if significantly worse, else 0.

        Decided by the t-interval of the mean; `comparisons` share its level of 5 % (Bonferroni).
        """
        half = half_interval(self.values, 1 - (1 - CONFIDENCE) / comparisons)
        if half is None or abs(self.mean) <= half + _NOISE:
            return 0
        return 1 if self.mean > 0 else -1

    @property
    def text(self) -> str:
        """The mean, and half of its 95 % t-interval where there are repeats: `+0.31 ± 0.52`."""
        return _with_half_interval(self.mean, half_interval(self.values))


@dataclass(frozen=True)
class Ratio:
    """A ratio of times in several repeats: their median, and the range that most of them are in."""

    values: tuple[float, ...]
    low: float
    high: float

    @property
    def median(self) -> float:
        return statistics.median(self.values)


class Evidence:
    """A study and its records."""

    def __init__(self, study: Study, records: Aggregate):
        self.study = study
        self.records = records

    def scores(self, column: Column, variant: str) -> dict[int, float]:
        """A column's metric by seed, in the column's unit; empty without a run that is done."""
        found = self.records.values(column.task, column.test_set, variant, column.metric)
        return {s: value * column.scale for s, value in found.items() if s in self.study.seeds}

    def mean(self, column: Column, variant: str) -> float | None:
        """Mean over seeds of a column's metric, in the column's unit; None without a run."""
        found = self.scores(column, variant)
        return statistics.fmean(found.values()) if found else None

    def difference(self, column: Column, one: str, other: str) -> Difference | None:
        """By how much one run is better than another in a column, by the test that tables use.

        With one seed, nothing is significant. None where they have no seed in common.
        """
        return self.mean_difference([column], one, other)

    def mean_difference(self, columns: Sequence[Column], one: str, other: str) -> Difference | None:
        """The same for the mean over several columns of one test set.

        None where they have no seed in common that is done in all of the columns.
        """
        if not all(self.scores(column, run) for column in columns for run in (one, other)):
            return None
        made = self.records.comparisons
        found = mean_comparison([made.of(c.task, c.test_set, c.metric) for c in columns])
        difference = found.difference(one, other)
        if difference is None or difference.seeds > 1:
            return difference
        return replace(difference, images_error=None)

    @cached_property
    def timings(self) -> Mapping[str, Timing]:
        """The timing protocol's measurements by machine title; those with a GPU first."""
        found, _ = read_timings(self.study)
        titles = machine_titles(found)
        return {titles[file]: timing for file, timing in found.items()}

    def seconds(self, timing: Timing, method: str, kind: PassName) -> Sequence[float]:
        """Seconds per image in each turn; none where it was not timed with the study's settings."""
        measurement = timing.of(method)
        settings = self.study.method_settings.get(method, {})
        if measurement is None or measurement.settings != settings:
            return ()
        if kind not in measurement.passes:
            return ()
        return measurement.passes[kind].batches[timing.batch_size].seconds

    def turn_ratio(
        self, timing: Timing, above: tuple[str, PassName], below: tuple[str, PassName]
    ) -> Ratio | None:
        """Seconds of one over those of another in the same turn; the range is from least to most.

        Args:
            timing: of one machine.
            above: method and kind of pass in the numerator.
            below: likewise in the denominator.
        """
        pairs = zip(self.seconds(timing, *above), self.seconds(timing, *below), strict=False)
        ratios = tuple(a / b for a, b in pairs)
        return Ratio(ratios, min(ratios), max(ratios)) if ratios else None

    def epoch_ratio(self, variant: str, to: str, *, searching: bool) -> Ratio | None:
        """Seconds per epoch of one method over another's, of runs of one task and seed.

        The range is that of the middle half of the pairs.

        Args:
            variant: the method in the numerator, over its epochs with or without alpha.
            to: the method in the denominator, over all of its epochs.
            searching: whether to take the epochs in which alpha is trained.
        """
        epochs = self.records.losses
        above = _seconds(
            epochs[(epochs["variant"] == variant) & (epochs["searching"] == searching)]
        )
        below = _seconds(epochs[epochs["variant"] == to])
        ratios = tuple((above / below).dropna())
        if not ratios:
            return None
        low, high = _middle_half(ratios)
        return Ratio(ratios, low, high)


def difference_text(difference: Difference) -> str:
    """The mean, and half of its 95 % t-interval over seeds, if any: `+0.31 ± 0.52`."""
    interval = difference.over_seeds()
    return _with_half_interval(
        difference.mean, None if interval is None else (interval[1] - interval[0]) / 2
    )


def repeats_text(counts: Iterable[int], what: str = "seed") -> str:
    """The number of repeats: `n = 3 seeds`, or `n = 2 to 3 seeds` where it varies."""
    return f"n = {range_of([*counts], what)}"


def _with_half_interval(mean: float, half: float | None) -> str:
    mean = round(mean, 2) + 0.0  # so that there is no -0.00
    return f"{mean:+.2f}" + ("" if half is None else f" ± {half:.2f}")


def _middle_half(values: Sequence[float]) -> tuple[float, float]:
    if len(values) == 1:
        return values[0], values[0]
    quartiles = statistics.quantiles(values, n=4, method="inclusive")
    return quartiles[0], quartiles[2]


def _seconds(epochs: pd.DataFrame) -> pd.Series[float]:
    """Median seconds per epoch of each task and seed; the first epoch also warms up."""
    warm = epochs[(epochs["epoch"] > 1) & epochs["seconds"].notna()]
    return warm.groupby(["task", "seed"])["seconds"].median()
