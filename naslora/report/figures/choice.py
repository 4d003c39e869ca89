"""The choice of a figure's test images, by a rule and not by eye."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import pandas as pd

from naslora.core.wording import counted, joined
from naslora.data.benchmarks.contract import Benchmark, get_benchmark
from naslora.data.manifest import read_manifest
from naslora.evaluation.names import image_metric, metric_name
from naslora.report.figures.captions import test_set_title, trained_rows
from naslora.results.aggregate import Aggregate
from naslora.study.layout import Layout
from naslora.study.settings import Study

Rank = Literal["best", "upper quartile", "median", "lower quartile", "worst"]
RANKS: tuple[Rank, ...] = get_args(Rank)
# With few images, the earlier ones are kept.
_PRIORITY: tuple[Rank, ...] = ("best", "worst", "median", "upper quartile", "lower quartile")


@dataclass(frozen=True)
class Choice:
    """Images of a task's first test set, ranked by their mean score over methods and seeds.

    Attributes:
        benchmark: of the task.
        test_set: whose images.
        metric: the task's main metric, as records name it.
        runs: how many runs the mean is over.
        images: how many images were ranked.
        chosen: rank to image id.
        scores: one row per image id, one column per run (method or network, seed), in the record's
            unit; NaN where a network has no score of an image.
    """

    benchmark: Benchmark
    test_set: str
    metric: str
    runs: int
    images: int
    chosen: Mapping[Rank, str]
    scores: pd.DataFrame

    def distinct(self, ranks: Sequence[Rank] = RANKS) -> tuple[Rank, ...]:
        """These ranks, with each image only once: of two images, neither is the median."""
        shown: dict[str, Rank] = {}
        for rank in (rank for rank in _PRIORITY if rank in ranks):
            shown.setdefault(self.chosen[rank], rank)
        return tuple(rank for rank in RANKS if rank in shown.values())

    def score(self, rank: Rank, method: str, seed: int) -> float:
        """The score of a run on an image, in the unit that tables show."""
        of_run: pd.Series[float] = self.scores[(method, seed)]
        return metric_name(self.metric).scale * float(of_run[self.chosen[rank]])

    @property
    def title(self) -> str:
        """The name of the benchmark, and of the test set where it has several."""
        return test_set_title(self.benchmark.name, self.test_set)

    def caption(self, ranks: Sequence[Rank] = RANKS) -> str:
        """A sentence that names these images and the rule of their choice."""
        names = joined(self.distinct(ranks))
        return (
            f"{names[0].upper()}{names[1:]} of {counted(self.images, 'test image')} of "
            f"{self.title} by {metric_name(self.metric).title}, averaged over "
            f"{counted(self.runs, 'run')}."
        )


def choose(study: Study, records: Aggregate, task: str) -> Choice | None:
    """Rank the images of a task's first test set; None where no run is done.

    Networks other than SAM do not count. Images without a score in some run of a method are left
    out. Ties are ordered by id; of two images in the middle the better one is the median.

    Raises:
        ManifestError: the task is not prepared.
    """
    layout = Layout.of(study)
    done = [
        (name, seed)
        for name in trained_rows(study)
        for seed in study.seeds
        if records.status(task, name, seed) == "done"
    ]
    runs = [run for run in done if run[0] in study.methods]
    if not runs:
        return None
    benchmark = get_benchmark(task)
    test_set = read_manifest(layout.manifest(task)).evaluated[0]
    metric = image_metric(benchmark.metrics)
    columns = {}
    for run in done:
        rows = pd.read_parquet(layout.per_image(task, *run))
        columns[run] = rows[rows["test_set"] == test_set].set_index("id")[metric]
    scores = pd.DataFrame(columns).dropna(subset=runs)
    if scores.empty:
        return None
    means = metric_name(metric).sign * scores[runs].mean(axis=1)
    order = sorted(map(str, scores.index), key=lambda name: (-means[name], name))
    last = len(order) - 1
    return Choice(
        benchmark=benchmark,
        test_set=test_set,
        metric=metric,
        runs=len(runs),
        images=len(order),
        chosen={rank: order[last * i // (len(RANKS) - 1)] for i, rank in enumerate(RANKS)},
        scores=scores,
    )


def first_done(study: Study, records: Aggregate, task: str, method: str) -> int | None:
    """The first seed with which a method is done on a task; None without any."""
    done = (seed for seed in study.seeds if records.status(task, method, seed) == "done")
    return next(done, None)
