"""All records of a study as tidy data frames, without those that are damaged or out of date."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from naslora.core.errors import RecordError
from naslora.results.comparison import Comparisons
from naslora.results.reading import Problem, RecordSummary, readings
from naslora.study.layout import Layout
from naslora.study.records import Attempt, read_attempt
from naslora.study.settings import Study

_log = logging.getLogger(__name__)

_RUN_COLUMNS = [
    "task",
    "variant",
    "method",
    "title",
    "seed",
    "status",
    "message",
    "trainable_parameters",
    "original_parameters",
    "searches",
    "images",
    "code",
]
_SCORE_COLUMNS = ["task", "test_set", "variant", "method", "seed", "metric", "value"]
_LOSS_COLUMNS = ["task", "variant", "seed", "epoch", "loss"]
_LOSS_COLUMNS += ["val_score", "val_loss", "seconds", "searching"]
_Key = tuple[str, str, str, str]


@dataclass(frozen=True)
class Aggregate:
    """A study's records.

    Attributes:
        scores: one row per task, test set, variant, method, seed and metric of a run that is done,
            with its value in the record's unit.
        runs: one row per record, with its status (`done`, `diverged`, `failed`, `interrupted`),
            its message, its parameter counts (trainable, and those of Meta's SAM; None for a
            control), `searches` (whether it has architecture parameters), `images`, a mapping of
            test set to number of images, and `code`, which names revision, torch and device.
        losses: one row per trained run and epoch (from 1) with its mean training loss, validation
            score and loss (missing in older records), its seconds, and whether alpha was trained.
        problems: the records that were left out, in path order.
        attempts: for runs without a record, the state of the last attempt to train them.
        study: the study that the records belong to; needed for `comparisons`.
    """

    scores: pd.DataFrame
    runs: pd.DataFrame
    losses: pd.DataFrame
    problems: tuple[Problem, ...]
    attempts: Mapping[tuple[str, str, int], Attempt] = field(default_factory=dict)
    study: Study | None = field(default=None, repr=False, compare=False)

    def values(self, task: str, test_set: str, variant: str, metric: str) -> Mapping[int, float]:
        """The values of a metric by seed, in the record's unit and in the order of seeds."""
        return self._values.get((task, test_set, variant, metric), {})

    def status(self, task: str, variant: str, seed: int) -> str:
        """The status of a run: its record's, `left out`, its last attempt's, or `missing`."""
        run = (task, variant, seed)
        if run in self._left_out:
            return "left out"
        if run not in self._statuses and run in self.attempts:
            return self.attempts[run].status
        return self._statuses.get(run, "missing")

    def image_counts(self, task: str, *test_sets: str) -> list[int]:
        """The distinct numbers of images of these test sets together, over a task's records."""
        counted = [dict(items) for items in self._images.get(task, ())]
        return sorted(
            {
                sum(images[name] for name in test_sets)
                for images in counted
                if {*test_sets} <= images.keys()
            }
        )

    def has_images(self, task: str, test_set: str) -> bool:
        """Whether a test set has images, according to the records; some archives lack test sets.

        True for a task without records.
        """
        counted = self._images.get(task)
        return not counted or any(dict(items).get(test_set) for items in counted)

    def parameters(self, variant: str, tasks: Iterable[str], kind: str) -> int | None:
        """A variant's count of a `kind`, a column of `runs`; None if unknown or runs disagree."""
        found = {n for task in tasks for n in self._parameters[kind].get((task, variant), ())}
        return found.pop() if len(found) == 1 else None

    @cached_property
    def titles(self) -> dict[str, str]:
        """The methods' titles in the records, by key."""
        own = self.runs[self.runs["variant"] == self.runs["method"]]
        return dict(zip(own["variant"], own["title"], strict=True))

    @cached_property
    def comparisons(self) -> Comparisons:
        """Comparisons of rows on the metrics of the study's test sets, each made once.

        Raises:
            ValueError: these records have no study.
        """
        if self.study is None:
            raise ValueError("records without their study cannot be compared")
        return Comparisons(self.study, self)

    # Tables ask thousands of times; filtering the data frames each time would take minutes.

    @cached_property
    def _values(self) -> dict[_Key, dict[int, float]]:
        values: dict[_Key, dict[int, float]] = defaultdict(dict)
        frame = self.scores.sort_values("seed", kind="stable")
        names = ("task", "test_set", "variant", "metric", "seed", "value")
        for *key, seed, value in zip(*(frame[name].tolist() for name in names), strict=True):
            values[key[0], key[1], key[2], key[3]][seed] = value
        return dict(values)

    @cached_property
    def _statuses(self) -> dict[tuple[str, str, int], str]:
        names = ("task", "variant", "seed", "status")
        rows = zip(*(self.runs[name].tolist() for name in names), strict=True)
        return {(task, variant, seed): status for task, variant, seed, status in rows}

    @cached_property
    def _left_out(self) -> set[tuple[str, str, int] | None]:
        return {problem.run for problem in self.problems}

    @cached_property
    def _images(self) -> dict[str, set[frozenset[tuple[str, int]]]]:
        counts: dict[str, set[frozenset[tuple[str, int]]]] = defaultdict(set)
        done = self.runs[self.runs["status"] == "done"]
        for task, images in zip(done["task"], done["images"], strict=True):
            counts[task].add(frozenset(images.items()))
        return dict(counts)

    @cached_property
    def _parameters(self) -> dict[str, dict[tuple[str, str], set[int]]]:
        counts: dict[str, dict[tuple[str, str], set[int]]] = {}
        for kind in ("trainable_parameters", "original_parameters"):
            counted = self.runs[self.runs[kind].notna()]
            counts[kind] = defaultdict(set)
            for task, name, count in zip(
                counted["task"], counted["variant"], counted[kind], strict=True
            ):
                counts[kind][task, name].add(int(count))
        return counts


def aggregate(study: Study) -> Aggregate:
    """Read all records of a study.

    A record is left out, and named in `problems`, if it cannot be read, does not match its path,
    or was made with other settings than the study has now.
    """
    found = readings(study)
    good = [one for one in found if isinstance(one, RecordSummary)]
    return Aggregate(
        scores=pd.DataFrame([row for one in good for row in one.scores], columns=_SCORE_COLUMNS),
        runs=pd.DataFrame([one.run for one in good], columns=_RUN_COLUMNS),
        losses=_losses(good),
        problems=tuple(one for one in found if isinstance(one, Problem)),
        attempts=_attempts(study),
        study=study,
    )


def _attempts(study: Study) -> dict[tuple[str, str, int], Attempt]:
    """The states of runs that have begun and have no result, without those that cannot be read."""
    layout = Layout.of(study)
    found = {}
    for run in study.runs():
        path = layout.attempt(*run)
        if path.is_file() and not layout.record(*run).is_file():
            try:
                found[run] = read_attempt(path)
            except RecordError as error:
                _log.warning("%s", error)
    return found


def _losses(found: Iterable[RecordSummary]) -> pd.DataFrame:
    columns: dict[str, list[object]] = {name: [] for name in _LOSS_COLUMNS}
    for one in found:
        for name, value in zip(("task", "variant", "seed"), one.key, strict=True):
            columns[name] += [value] * len(one.epochs["epoch"])
        for name, values in one.epochs.items():
            columns[name] += values
    return pd.DataFrame(columns)
