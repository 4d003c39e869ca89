"""A cell of a table: our mean over seeds, the paper's number, and a verdict on the two."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from naslora.paper.published import Printed

CONFIDENCE = 0.95
WIDEST = 1.0  # percentage points; a wider interval would call nearly anything reproduced
NOT_PLANNED = "not part of the study"  # the status where a row does not run on a task
CITED = "cited"  # the status of a number that the paper took from elsewhere


def half_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> float | None:
    """Half of the two-sided t-interval of a mean; None for fewer than two values."""
    if len(values) < 2:
        return None
    from scipy import stats  # a slow import

    quantile = stats.t.ppf(0.5 + confidence / 2, len(values) - 1)
    return float(quantile * stats.sem(values))


class Verdict(StrEnum):
    """How the paper's number compares with ours."""

    REPRODUCED = "reproduced"
    DIFFERS = "differs"
    UNDECIDED = "undecided"
    NOT_COMPARABLE = "not comparable"
    MISSING = "missing"
    NOT_PRINTED = "not printed"
    CITED = "cited"


# Verdicts of numbers that can be compared.
DECIDED = (Verdict.REPRODUCED, Verdict.DIFFERS, Verdict.UNDECIDED)


@dataclass(frozen=True)
class Cell:
    """One row on one column.

    Attributes:
        values: one value per seed that is done, in the column's unit.
        status: `done`; or the status of seeds that are not, such as `diverged` or `1 missing of 3`;
            or `cited`.
        printed: the paper's number; None where it prints none.
        comparable: whether our setting is the paper's, so that a verdict makes sense.
        widest: half of the widest interval, in the column's unit, that allows a verdict.
    """

    values: tuple[float, ...]
    status: str
    printed: Printed | None
    comparable: bool
    widest: float = WIDEST

    @property
    def n(self) -> int:
        return len(self.values)

    @cached_property
    def value(self) -> float | None:
        """The number that tables show: the mean over seeds; None without values."""
        return statistics.fmean(self.values) if self.values else None

    @cached_property
    def std(self) -> float | None:
        """Sample standard deviation; None for fewer than two seeds."""
        return statistics.stdev(self.values) if self.n > 1 else None

    @cached_property
    def half_width(self) -> float | None:
        """Half of the two-sided 95 % t-interval of the mean; None for fewer than two seeds."""
        return half_interval(self.values)

    @property
    def difference(self) -> float | None:
        """Our mean minus the paper's number."""
        if self.value is None or self.printed is None:
            return None
        return self.value - self.printed.value

    @property
    def verdict(self) -> Verdict:
        """Reproduced: the paper's unrounded number may lie in the t-interval of our mean.

        Undecided: it does, but the interval reaches further than `widest` to either side.
        """
        if self.status == CITED:
            return Verdict.CITED
        if self.printed is None:
            return Verdict.NOT_PRINTED
        if self.difference is None:
            return Verdict.MISSING
        if not self.comparable or self.half_width is None:
            return Verdict.NOT_COMPARABLE
        tolerance = self.half_width + self.printed.half_unit
        # Differences of decimal numbers are off in the last bits; a tie counts as inside.
        inside = abs(self.difference) <= tolerance + 1e-9
        if not inside:
            return Verdict.DIFFERS
        return Verdict.REPRODUCED if self.half_width <= self.widest else Verdict.UNDECIDED
