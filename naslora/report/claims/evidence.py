"""The results of a study, for comparisons in the terms of the paper's claims."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from naslora.report.tables.cells import CONFIDENCE, half_interval
from naslora.report.tables.model import Column
from naslora.results.aggregate import Aggregate
from naslora.results.costs import machine_titles
from naslora.study.settings import Study
from naslora.timing.document import PassName, Timing, read_timings

_NOISE = 1e-9  # differences of decimal numbers are off in the last bits


@dataclass(frozen=True)
class Difference:
    """By how much one run is better than another, in each of several repeats."""

    values: tuple[float, ...]

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    def significant_sign(self, comparisons: int = 1) -> int:
        """1 if significantly better, -1 if significantly worse, else 0.

        The t-interval of the mean decides; `comparisons` share its level of 5 % (Bonferroni).
        """
        half = half_interval(self.values, 1 - (1 - CONFIDENCE) / comparisons)
        if half is None or abs(self.mean) <= half + _NOISE:
            return 0
        return 1 if self.mean > 0 else -1

    @property
    def text(self) -> str:
        """The mean, and half of its 95 % t-interval where there are repeats: `+0.31 ± 0.52`."""
        half = half_interval(self.values)
        mean = round(self.mean, 2) + 0.0  # so that there is no -0.00
        return f"{mean:+.2f}" + ("" if half is None else f" ± {half:.2f}")


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

    def difference(self, columns: Sequence[Column], one: str, other: str) -> Difference | None:
        """By how much one run is better than another of the same seed, mean over columns.

        None where they have no seed in common that is done in all of the columns.
        """
        by_seed: list[dict[int, float]] = []
        for column in columns:
            sign = 1 if column.higher_is_better else -1
            ours, theirs = self.scores(column, one), self.scores(column, other)
            by_seed.append({s: sign * (ours[s] - theirs[s]) for s in ours if s in theirs})
        common = set.intersection(*map(set, by_seed)) if by_seed else set()
        values = tuple(statistics.fmean(d[seed] for d in by_seed) for seed in sorted(common))
        return Difference(values) if values else None

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


def repeats_text(differences: Iterable[Difference], what: str = "seed") -> str:
    """`n = 3 seeds`, or `n = 2 to 3 seeds` where they are of different numbers of them."""
    counts = sorted({difference.n for difference in differences})
    span = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    return f"n = {span} {what}{'s' if counts[-1] > 1 else ''}"


def _middle_half(values: Sequence[float]) -> tuple[float, float]:
    if len(values) == 1:
        return values[0], values[0]
    quartiles = statistics.quantiles(values, n=4, method="inclusive")
    return quartiles[0], quartiles[2]


def _seconds(epochs: pd.DataFrame) -> pd.Series[float]:
    """Median seconds per epoch of each task and seed; the first epoch also warms up."""
    warm = epochs[(epochs["epoch"] > 1) & epochs["seconds"].notna()]
    return warm.groupby(["task", "seed"])["seconds"].median()
