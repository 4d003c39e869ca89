"""Runs of a study against each other, column by column of one of the paper's tables."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from naslora.paper.published import METHOD_ROWS, NAS_METHODS
from naslora.report.claims.claim import Judgement
from naslora.report.claims.evidence import Evidence, repeats_text
from naslora.report.tables.model import Column, run_title
from naslora.results.difference import Difference


@dataclass(frozen=True)
class ColumnComparison:
    """By how much one run, or group of runs, is better than another, per column.

    Attributes:
        columns: those in which both sides have runs of one seed.
        differences: one per column.
        others: the other side's run in each column.
    """

    columns: tuple[Column, ...]
    differences: tuple[Difference, ...]
    others: tuple[str, ...]

    def columns_with(self, sign: int) -> tuple[Column, ...]:
        """The columns where the side is significantly better (1), worse (-1), or neither (0)."""
        pairs = zip(self.columns, self.differences, strict=True)
        return tuple(
            column for column, difference in pairs if difference.significant_sign() == sign
        )

    def judgement(self, needed: int) -> Judgement:
        """Judge the claim that the side is better in `needed` of these columns."""
        return judge(self.differences, needed)

    def line(self, side: str) -> str:
        """In how many columns the side is better, and in which, as a sentence."""
        ahead, behind = self.columns_with(1), self.columns_with(-1)
        return (
            f"{side} is better in {_counted(ahead)} of {len(self.columns)} columns, worse in "
            f"{_counted(behind)}, and neither in {len(self.columns_with(0))} "
            f"({repeats_text(d.seeds for d in self.differences)})."
        )

    def sizes(self) -> str:
        """How large the differences are, as a sentence."""
        gaps = [abs(difference.mean) for difference in self.differences]
        return (
            f"The means are {statistics.median(gaps):.1f} points apart in the median, and "
            f"{max(gaps):.1f} at most."
        )

    def lines(self, evidence: Evidence) -> tuple[str, ...]:
        """Sentences on the result of `against_baselines`, and on the leader if there is one."""
        leaders = self.leaders(evidence)
        found = self.line("The better of the two, against the best baseline,")
        return (found, *([leaders] if leaders else []))

    def leaders(self, evidence: Evidence) -> str | None:
        """The methods that are better, and in how many columns; None if there are none."""
        pairs = zip(self.others, self.differences, strict=True)
        found = Counter(other for other, difference in pairs if difference.significant_sign() < 0)
        names = (f"{run_title(evidence.records, name)} in {n}" for name, n in found.most_common())
        return f"Ahead there: {', '.join(names)}." if found else None


def compare(
    evidence: Evidence, columns: Sequence[Column], one: str, other: str
) -> ColumnComparison | None:
    """One run against another; None where they have no column in common."""
    pairs = [(column, evidence.difference(column, one, other)) for column in columns]
    return _comparison([(c, d, other) for c, d in pairs if d is not None])


def best_against_best(
    evidence: Evidence, columns: Sequence[Column], ours: Sequence[str], others: Sequence[str]
) -> ColumnComparison | None:
    """The best mean of one group against the best of another, column by column."""
    found = []
    for column in columns:
        one, other = _best(evidence, column, ours), _best(evidence, column, others)
        if one is None or other is None:
            continue
        difference = evidence.difference(column, one, other)
        if difference is not None:
            found.append((column, difference, other))
    return _comparison(found)


def against_baselines(evidence: Evidence, columns: Sequence[Column]) -> ColumnComparison | None:
    """The better of NAS-LoRA and NAS-PC-LoRA against the best of the paper's other methods."""
    methods = evidence.study.methods
    baselines = [name for name in methods if name in METHOD_ROWS and name not in NAS_METHODS]
    return best_against_best(evidence, columns, NAS_METHODS, baselines)


class Signed(Protocol):
    """A difference that is significant in one direction or in neither."""

    def significant_sign(self, comparisons: int = 1) -> int: ...


def judge(differences: Sequence[Signed], needed: int) -> Judgement:
    """Judge the claim that at least `needed` of these are positive.

    It holds where so many are significant, and is contradicted where so many are significantly
    negative that too few are left. Either is wrong in at most 5 % of cases, however the
    comparisons depend on each other (Benjamini and Heller 2008, partial conjunction).
    """
    spare = len(differences) - needed + 1
    if spare < 1:  # so many are not measured
        return Judgement.OPEN
    if sum(difference.significant_sign(spare) > 0 for difference in differences) >= needed:
        return Judgement.HOLDS
    if sum(difference.significant_sign(needed) < 0 for difference in differences) >= spare:
        return Judgement.CONTRADICTED
    return Judgement.OPEN


def most(number: int) -> int:
    """The least whole number that is more than half of another."""
    return number // 2 + 1


def _comparison(found: Sequence[tuple[Column, Difference, str]]) -> ColumnComparison | None:
    if not found:
        return None
    columns, differences, others = zip(*found, strict=True)
    return ColumnComparison(columns, differences, others)


def _best(evidence: Evidence, column: Column, runs: Sequence[str]) -> str | None:
    means = {run: mean for run in runs if (mean := evidence.mean(column, run)) is not None}
    if not means:
        return None
    pick = max if column.higher_is_better else min
    return pick(means, key=lambda run: means[run])


def _counted(columns: Sequence[Column]) -> str:
    names = f" ({', '.join(column.title for column in columns)})" if columns else ""
    return f"{len(columns)}{names}"
