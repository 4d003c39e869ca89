"""Comparison of rows on one metric of one test set: scores over seeds, and resampled images.

See `naslora.results.difference` for what makes a difference of two rows significant.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from naslora.core.errors import RecordError
from naslora.data.benchmarks.contract import get_benchmark
from naslora.evaluation.names import MetricName, main_metric, metric_name
from naslora.methods.names import NETWORK_NAMES
from naslora.paper.published import NOT_PEFT
from naslora.results.difference import Difference, welch
from naslora.results.set_metrics import SetMetric, set_metric
from naslora.study.layout import Layout
from naslora.study.records import CONTROLS

if TYPE_CHECKING:
    from naslora.results.aggregate import Aggregate
    from naslora.study.settings import Study

RESAMPLES = 2000


@dataclass(frozen=True)
class Comparison:
    """Rows of a table on one metric of one test set.

    Attributes:
        task, test_set, metric: what is compared.
        scores: one column per row of the table, one row per seed, in the unit that tables show;
            NaN where a run is not done. A control has the same score for every seed.
        replicates: (resamples, rows): means over seeds on resampled test images, the same images
            for all rows; None where the metric cannot be resampled.
        images: number of test images.
        pooled: the columns whose variance over seeds is pooled.
    """

    task: str
    test_set: str
    metric: str
    scores: pd.DataFrame
    replicates: pd.DataFrame | None
    images: int
    pooled: tuple[str, ...]

    @property
    def name(self) -> MetricName:
        """The title, unit and digits of the metric."""
        return metric_name(self.metric)

    @property
    def is_main(self) -> bool:
        """Whether this is the main metric of its task."""
        return self.metric == main_metric(get_benchmark(self.task).metrics)

    @cached_property
    def means(self) -> pd.Series[float]:
        """Mean over seeds, by row; rows without a run that is done are left out."""
        return self.scores.mean().dropna()

    def difference(self, one: str, other: str) -> Difference | None:
        """By how much `one` is better than `other`; None if they have no seed in common."""
        if not {one, other} <= {*self.scores.columns}:
            return None
        pair = self.scores[[one, other]].dropna()
        if pair.empty:
            return None
        sign, seeds = self.name.sign, len(pair)
        error, degrees = self._seeds_error(one, other, pair)
        replicates = self.replicates
        return Difference(
            mean=float(sign * (pair[one] - pair[other]).mean()),
            seeds=seeds,
            images=self.images,
            seeds_error=error,
            degrees=degrees,
            images_error=None
            if replicates is None or not {one, other} <= {*replicates.columns}
            else float((replicates[one] - replicates[other]).std()),
        )

    def _seeds_error(self, one: str, other: str, pair: pd.DataFrame) -> tuple[float | None, int]:
        """Standard error of a mean difference over seeds, and its degrees of freedom.

        Variances are pooled over the rows in `pooled` that have all seeds. Two such rows have the
        residual variance of a two-way layout of rows and seeds, which for two rows alone is that of
        the paired t-test. Against a control, which is constant, such a row has the variance within
        rows; against any other row, it is compared with that variance by Welch's t-test. Two other
        rows are compared by a paired t-test of their own.
        """
        seeds, pooled = len(pair), {*self.pooled}
        if {one, other} <= pooled and self._residual is not None:
            variance, degrees = self._residual
            return math.sqrt(2 * variance / seeds), degrees
        constant = {one, other} & {*CONTROLS}
        if constant and {one, other} - constant <= pooled and self._within is not None:
            variance, degrees = self._within
            return math.sqrt(variance / seeds), degrees
        if seeds < 2:
            return None, 0
        if len({one, other} & pooled) == 1 and self._within is not None and not constant:
            (alone,) = {one, other} - pooled
            return welch(self._within, (float(pair[alone].var()), seeds - 1), seeds)
        return float((pair[one] - pair[other]).std() / math.sqrt(seeds)), seeds - 1

    @cached_property
    def _within(self) -> tuple[float, int] | None:
        """Variance of a row's runs, pooled over rows, and its degrees of freedom."""
        values = self._whole
        seeds, rows = values.shape
        if seeds < 2 or not rows:
            return None
        return float(values.var(axis=0, ddof=1).mean()), rows * (seeds - 1)

    @cached_property
    def _whole(self) -> NDArray[np.float64]:
        """Scores (seeds, rows) of the pooled rows that have all seeds."""
        return self.scores[[*self.pooled]].dropna(axis="columns").to_numpy(float)

    @cached_property
    def _residual(self) -> tuple[float, int] | None:
        values = self._whole
        seeds, rows = values.shape
        if seeds < 2 or rows < 2:
            return None
        left = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
        degrees = (seeds - 1) * (rows - 1)
        return float((left**2).sum() / degrees), degrees


class Comparisons:
    """The comparisons of a study, each computed once."""

    def __init__(self, study: Study, records: Aggregate):
        self._study = study
        self._records = records
        self._rows: dict[tuple[str, str, int], pd.DataFrame] = {}
        self._made: dict[tuple[str, str, str], Comparison] = {}

    def of(self, task: str, test_set: str, metric: str) -> Comparison:
        """The comparison of all rows of a task on one metric of one test set."""
        key = (task, test_set, metric)
        if key not in self._made:
            self._made[key] = self._compare(task, test_set, metric)
        return self._made[key]

    def _compare(self, task: str, test_set: str, metric: str) -> Comparison:
        study = self._study
        scores = self._scores(task, test_set, metric)
        names = [str(name) for name in scores]
        sets = {
            (name, seed): found
            for name in names
            for seed in self._seeds_done(scores, name)
            if (found := self._set_metric(task, name, seed, test_set, metric)) is not None
        }
        images = {self._images(task, name, seed, test_set) for name, seed in sets}
        whole = [
            name
            for name in names
            if all((name, seed) in sets for seed in self._seeds_done(scores, name))
        ]
        replicates = None
        if len(images) == 1 and whole:
            by_row = {
                name: [sets[name, seed] for seed in self._seeds_done(scores, name)]
                for name in whole
            }
            replicates = metric_name(metric).scale * bootstrap(by_row)
        return Comparison(
            task=task,
            test_set=test_set,
            metric=metric,
            scores=scores,
            replicates=replicates,
            images=max(map(len, images), default=0),
            pooled=tuple(
                name for name in study.run_names(task) if name in scores and _adapts(study, name)
            ),
        )

    def _scores(self, task: str, test_set: str, metric: str) -> pd.DataFrame:
        study, scale = self._study, metric_name(metric).scale
        columns = {}
        for name in (*CONTROLS, *study.run_names(task)):
            found = self._records.values(task, test_set, name, metric)
            if name in CONTROLS and found:
                columns[name] = [scale * found[0]] * len(study.seeds)
            elif found:
                columns[name] = [scale * found.get(seed, np.nan) for seed in study.seeds]
        return pd.DataFrame(columns, index=pd.Index(study.seeds, name="seed"), dtype=float)

    def _seeds_done(self, scores: pd.DataFrame, name: str) -> list[int]:
        if name in CONTROLS:
            return [0]
        return [int(seed) for seed in scores.index[scores[name].notna()]]

    def _set_metric(
        self, task: str, name: str, seed: int, test_set: str, metric: str
    ) -> SetMetric | None:
        rows = self._per_image(task, name, seed)
        rows = rows[rows["test_set"] == test_set]
        return set_metric(metric, rows) if len(rows) else None

    def _images(self, task: str, name: str, seed: int, test_set: str) -> tuple[str, ...]:
        """The images of a run's per-image metrics, in their order."""
        rows = self._per_image(task, name, seed)
        rows = rows[rows["test_set"] == test_set]
        return tuple(map(str, rows.get("id", rows.index)))

    def _per_image(self, task: str, name: str, seed: int) -> pd.DataFrame:
        key = (task, name, seed)
        if key not in self._rows:
            path = Layout.of(self._study).per_image(task, name, seed)
            try:
                rows = pd.read_parquet(path)
            except (OSError, ValueError) as error:
                raise RecordError(
                    f"the per-image metrics cannot be read: {error}",
                    where=path,
                    remedy="delete this file and the record beside it, and evaluate the run again",
                ) from None
            by = ["test_set", "id"] if "id" in rows else ["test_set"]
            self._rows[key] = rows.sort_values(by, kind="stable", ignore_index=True)
        return self._rows[key]


def mean_comparison(comparisons: Sequence[Comparison]) -> Comparison:
    """The comparison of rows on the mean of several metrics of one test set.

    Args:
        comparisons: one for each metric, all of which are better when higher, or all when lower.
            `metric` of the result is that of the first.

    Raises:
        ValueError: the metrics have different directions, or are of different test sets.
    """
    first = comparisons[0]
    if len({(one.task, one.test_set, one.name.sign) for one in comparisons}) > 1:
        raise ValueError("only metrics of one test set and of one direction have a mean")
    if len(comparisons) == 1:
        return first
    resampled = [one.replicates for one in comparisons if one.replicates is not None]
    return replace(
        first,
        scores=sum((one.scores for one in comparisons[1:]), first.scores) / len(comparisons),
        replicates=sum(resampled[1:], resampled[0]) / len(resampled)
        if len(resampled) == len(comparisons)
        else None,
    )


def _adapts(study: Study, row: str) -> bool:
    """Whether a row adapts a SAM; models that are trained as a whole vary more between seeds."""
    method = study.variants[row].method if row in study.variants else row
    return method not in NOT_PEFT and method not in NETWORK_NAMES


def bootstrap(rows: Mapping[str, Sequence[SetMetric]]) -> pd.DataFrame:
    """Resample test images with replacement, the same images for all rows and seeds.

    An image is a cluster: all runs' values of it are drawn together.

    Args:
        rows: by name, the metric of each seed; all on the same images, in the same order.

    Returns:
        (resamples, rows): means over seeds.
    """
    number = len(next(iter(rows.values()))[0].sums)
    rng = np.random.default_rng(0)
    # How often each image is drawn.
    weights = rng.multinomial(number, np.full(number, 1 / number), RESAMPLES).astype(float)
    means = {name: _mean(one.weighted(weights) for one in seeds) for name, seeds in rows.items()}
    return pd.DataFrame(means)


def _mean(values: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
    found = list(values)
    mean: NDArray[np.float64] = np.sum(found, axis=0) / len(found)
    return mean
