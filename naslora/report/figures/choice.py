"""Which test images a figure shows: by a rule, and not by eye."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from naslora.data.benchmarks.contract import Benchmark, get_benchmark
from naslora.data.manifest import read_manifest
from naslora.results.aggregate import Aggregate
from naslora.study.layout import Layout
from naslora.study.settings import Study

Rank = Literal["best", "median", "worst"]
RANKS: tuple[Rank, ...] = ("best", "median", "worst")


@dataclass(frozen=True)
class Choice:
    """Images of a task's first test set, ranked by their mean score over methods and seeds.

    Attributes:
        benchmark: of the task.
        test_set: whose images.
        measure: the score, IoU or mIoU.
        runs: how many runs the mean is over.
        images: how many images were ranked.
        chosen: rank to image id.
        scores: rank to mean score.
    """

    benchmark: Benchmark
    test_set: str
    measure: str
    runs: int
    images: int
    chosen: dict[Rank, str]
    scores: dict[Rank, float]

    @property
    def distinct(self) -> tuple[Rank, ...]:
        """The ranks, each image once: of two images there is no median."""
        shown: dict[str, Rank] = {}
        ends_first: tuple[Rank, ...] = ("best", "worst", "median")
        for rank in ends_first:
            shown.setdefault(self.chosen[rank], rank)
        return tuple(rank for rank in RANKS if rank in shown.values())

    @property
    def caption(self) -> str:
        """Which images these are, and by which rule."""
        ranks = self.distinct
        named = ranks[0] if len(ranks) == 1 else f"{', '.join(ranks[:-1])} and {ranks[-1]}"
        several = f" {self.test_set}" if len(self.benchmark.test_sets) > 1 else ""
        return (
            f"{self.benchmark.title}{several}: {named} of {self.images} test images by their mean "
            f"{self.measure} over {self.runs} runs"
        )


def choose(study: Study, records: Aggregate, task: str) -> Choice | None:
    """Choose the best, the median and the worst image; None where no run is done.

    An image counts if every run has a score of it. Ties are ordered by id, and of two in the
    middle the better one is the median.

    Raises:
        ManifestError: the task is not prepared.
    """
    layout = Layout.of(study)
    runs = [
        (method, seed)
        for method in study.methods
        for seed in study.seeds
        if records.status(task, method, seed) == "done"
    ]
    if not runs:
        return None
    benchmark = get_benchmark(task)
    test_set = read_manifest(layout.manifest(task)).evaluated[0]
    measure = "IoU" if len(benchmark.classes) == 1 else "mIoU"
    columns = []
    for method, seed in runs:
        rows = pd.read_parquet(layout.per_image(task, method, seed))
        rows = rows[rows["test_set"] == test_set]
        columns.append(rows.set_index("id")[measure])
    means = pd.concat(columns, axis=1).dropna().mean(axis=1)
    scores = {str(name): float(score) for name, score in means.items()}
    order = sorted(scores, key=lambda name: (-scores[name], name))
    if not order:
        return None
    chosen: dict[Rank, str] = dict(
        zip(RANKS, (order[0], order[(len(order) - 1) // 2], order[-1]), strict=True)
    )
    return Choice(
        benchmark=benchmark,
        test_set=test_set,
        measure=measure,
        runs=len(runs),
        images=len(order),
        chosen=chosen,
        scores={rank: scores[name] for rank, name in chosen.items()},
    )


def first_done(study: Study, records: Aggregate, task: str, method: str) -> int | None:
    """The first of the study's seeds with which a method is done on a task."""
    done = (seed for seed in study.seeds if records.status(task, method, seed) == "done")
    return next(done, None)
