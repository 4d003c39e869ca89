"""Ranking of methods over the tasks of a study, and tests of their differences.

A method has one number per task: its main metric (`naslora.evaluation.names.main_metric`), averaged
over the task's test sets. Tasks are the blocks of Friedman's test, as Demsar (2006) recommends for
classifiers on several data sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from naslora.data.benchmarks.contract import get_benchmark
from naslora.evaluation.names import main_metric, metric_name
from naslora.paper.published import NOT_PEFT
from naslora.results.aggregate import Aggregate
from naslora.results.comparison import Comparison
from naslora.results.difference import LEVEL
from naslora.study.settings import Study

REFERENCE = "lora"
FEWEST_TASKS = 3  # as many methods are needed, too


@dataclass(frozen=True)
class Ranking:
    """The methods of a study against each other.

    Attributes:
        differences: one line per test set and method (or variant that runs on every task), each
            compared with `REFERENCE`. Columns: `task`, `test_set`, `metric` (a record's name),
            `method`; `difference` (above 0: better than `REFERENCE`; in the unit that tables show),
            `seeds`, `images`; `seeds_low` and `seeds_high` (95 % t-interval over seeds),
            `images_low` and `images_high` (95 % bootstrap interval over images); `significant` (1
            better, -1 worse, 0 neither) and `smallest` (the true difference that this number of
            seeds detects with a power of 0.8). NaN where there is no such number.
        scores: one line per task, one column per method that has all tasks: mean over test sets of
            the main metric, negative for errors, so that more is better.
        ranks: the same as ranks within a task, 1 for the best, ties shared.
        friedman: the statistic of Friedman's test over tasks, and its p; None with fewer than
            three tasks or methods.
        critical_difference: mean ranks that differ by less are not significantly different
            (Nemenyi, 5 %); None without a test.
        nemenyi: (methods, methods), p of each pair; None without a test.
        wilcoxon: p of the signed-rank test over tasks of each method against `REFERENCE`,
            corrected by Holm over methods; None without a test or without `REFERENCE`.
        left_out: methods that lack a task, and so are not ranked.
    """

    differences: pd.DataFrame
    scores: pd.DataFrame
    ranks: pd.DataFrame
    friedman: tuple[float, float] | None
    critical_difference: float | None
    nemenyi: pd.DataFrame | None
    wilcoxon: pd.Series[float] | None
    left_out: tuple[str, ...]

    @property
    def mean_ranks(self) -> pd.Series[float]:
        """Mean rank over tasks by method, the best first."""
        return self.ranks.mean().sort_values(kind="stable")

    @property
    def leaders(self) -> list[str]:
        """The method with the best mean rank, and those not significantly different from it."""
        ranks = self.mean_ranks
        if self.critical_difference is None or not self.different:
            return [str(name) for name in ranks.index]
        return [
            str(name) for name in ranks.index[ranks <= ranks.iloc[0] + self.critical_difference]
        ]

    @property
    def different(self) -> bool:
        """Whether Friedman's test finds any difference."""
        return self.friedman is not None and self.friedman[1] < LEVEL


def rank(study: Study, records: Aggregate) -> Ranking:
    """Compare the methods of a study, task by task and over all tasks."""
    sets = main_comparisons(study, records)
    scores, left_out = _task_scores(study, sets)
    ranks = scores.rank(axis="columns", ascending=False)
    tested = len(scores) >= FEWEST_TASKS and len(scores.columns) >= FEWEST_TASKS
    return Ranking(
        differences=differences(sets, [*study.methods, *study.general_variants()]),
        scores=scores,
        ranks=ranks,
        friedman=_friedman(scores) if tested else None,
        critical_difference=critical_difference(*scores.shape) if tested else None,
        nemenyi=_nemenyi(scores) if tested else None,
        wilcoxon=_wilcoxon(scores) if tested else None,
        left_out=left_out,
    )


def main_comparisons(study: Study, records: Aggregate) -> list[Comparison]:
    """The main metric of each test set of the study."""
    found = []
    for task in study.tasks:
        benchmark = get_benchmark(task)
        metric = main_metric(benchmark.metrics)
        found += [
            records.comparisons.of(task, test_set, metric) for test_set in benchmark.test_sets
        ]
    return found


def critical_difference(tasks: int, methods: int) -> float:
    """Nemenyi's critical difference: the difference of mean ranks that is significant at 5 %."""
    from scipy.stats import studentized_range

    quantile = studentized_range.ppf(1 - LEVEL, methods, np.inf) / np.sqrt(2)
    return float(quantile * np.sqrt(methods * (methods + 1) / (6 * tasks)))


def _task_scores(study: Study, sets: list[Comparison]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Main metric by task and method, mean over test sets; and the methods that lack a task."""
    methods = [name for name in study.methods if name not in NOT_PEFT]
    columns: dict[str, pd.Series[float]] = {
        f"{one.task} {one.test_set}": metric_name(one.metric).sign * one.means.reindex(methods)
        for one in sets
    }
    # A test set that no method has is ignored; a method that lacks any other is left out.
    by_set = pd.DataFrame(columns).T.dropna(how="all")
    task_of = {f"{one.task} {one.test_set}": one.task for one in sets}
    tasks = by_set.index.map(task_of)
    lacks = by_set.isna().groupby(tasks, sort=False).any()
    by_task = by_set.groupby(tasks, sort=False).mean().mask(lacks).rename_axis("task")
    whole = by_task.dropna(axis="columns") if len(by_task) else by_task.reindex(columns=[])
    return whole, tuple(name for name in methods if name not in whole)


def differences(
    sets: Sequence[Comparison], names: Sequence[str], to: str = REFERENCE
) -> pd.DataFrame:
    """The differences of rows to a row, with the columns of `Ranking.differences`."""
    lines = []
    nothing = (np.nan, np.nan)
    for one in sets:
        for name in names:
            difference = one.difference(name, to) if name != to else None
            if difference is None:
                continue
            seeds, images = difference.over_seeds(), difference.over_images()
            smallest = difference.smallest()
            lines.append(
                (
                    *(one.task, one.test_set, one.metric, name, difference.mean),
                    *(difference.seeds, difference.images),
                    *(seeds or nothing),
                    *(images or nothing),
                    difference.significant_sign(),
                    np.nan if smallest is None else smallest,
                )
            )
    columns = ["task", "test_set", "metric", "method", "difference", "seeds", "images"]
    columns += ["seeds_low", "seeds_high", "images_low", "images_high", "significant", "smallest"]
    return pd.DataFrame(lines, columns=columns)


def _friedman(scores: pd.DataFrame) -> tuple[float, float]:
    from scipy.stats import friedmanchisquare

    if (scores.nunique(axis="columns") == 1).all():
        return 0.0, 1.0  # the statistic is 0 / 0 where all methods tie on every task
    result = friedmanchisquare(*(scores[name] for name in scores))
    return float(result.statistic), float(result.pvalue)


def _nemenyi(scores: pd.DataFrame) -> pd.DataFrame:
    from scikit_posthocs import posthoc_nemenyi_friedman

    # It ranks in ascending order, which does not change the differences of ranks.
    found: pd.DataFrame = posthoc_nemenyi_friedman(scores.reset_index(drop=True))
    return found


def _wilcoxon(scores: pd.DataFrame) -> pd.Series[float] | None:
    """Wilcoxon's p against `REFERENCE`.

    Not of all pairs: with few tasks, no p could be significant after so large a correction.
    """
    from scipy.stats import wilcoxon
    from statsmodels.stats.multitest import multipletests

    if REFERENCE not in scores:
        return None
    gaps = {name: scores[name] - scores[REFERENCE] for name in scores if name != REFERENCE}
    # Without any difference the test is undefined.
    raw = [float(wilcoxon(gap).pvalue) if gap.any() else 1.0 for gap in gaps.values()]
    return pd.Series(multipletests(raw, method="holm")[1], index=pd.Index(gaps, name="method"))
