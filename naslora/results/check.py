"""Checks whether the scores of a study distinguish a good method from a broken one.

Scores are meaningful if methods are clearly better than predictions that do not use the image,
differ from each other by more than chance, and benefit from pretraining. Each of these is a point
that a study passes or fails, judged by its records alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from naslora.core.errors import RecordError
from naslora.data.benchmarks.contract import get_benchmark
from naslora.evaluation.names import metric_name
from naslora.paper.published import NOT_PEFT
from naslora.results.aggregate import Aggregate, aggregate
from naslora.results.comparison import Comparison
from naslora.results.ranking import main_comparisons
from naslora.study.layout import Layout
from naslora.study.records import CONTROLS
from naslora.study.settings import Study

# By how much the median method must be better than the best control, in the unit of the tables.
MARGINS = {
    "S_measure": 10.0,
    "E_measure": 10.0,
    "weighted_F": 15.0,
    "IoU": 15.0,
    "T_Jac": 15.0,
    "Dice": 15.0,
    "BER": 15.0,
    "BER_image": 15.0,
    "mIoU_foreground": 10.0,
}
# Eleven classes are harder to distinguish.
MARGINS_OF_TASK = {("trans10k_v2", "mIoU_foreground"): 8.0}
FEWEST_IMAGES = 24
FEWEST_VALUES = 8  # different values among the methods of a table
_SHARE = 2 / 3  # of the test sets: 8 of 12
_DECIMALS = 1


@dataclass(frozen=True)
class Point:
    """A condition that a study should fulfil.

    Attributes:
        name: what is checked.
        where: task, test set and metric, or the whole study.
        found: the values in the records, as text.
        passed: whether the values are sufficient.
    """

    name: str
    where: str
    found: str
    passed: bool


def check_study(study: Study) -> list[Point]:
    """All points of a study, from its records on disk; see `check`.

    Raises:
        RecordError: no run of the study is done, or a record changed while it was read.
    """
    records = aggregate(study)
    if not (records.runs["status"] == "done").any():
        raise RecordError(
            f"study {study.study} has no run that is done, so there are no scores to check",
            where=Layout.of(study).records,
            remedy=f"run the study first: naslora run --study {study.study}",
        )
    return check(study, records)


def check(study: Study, records: Aggregate) -> list[Point]:
    """All points of a study, those about single metrics first.

    A missing or unfinished run fails the first point; the other points use the runs that are done.
    Test sets without images, which some archives lack, have no points.
    """
    found = main_comparisons(study, records)
    mains = [one for one in found if records.has_images(one.task, one.test_set)]
    points = [_complete(study, records), *map(_images, mains)]
    for one in mains:
        for metric in get_benchmark(one.task).metrics:
            margin = MARGINS_OF_TASK.get((one.task, metric), MARGINS.get(metric))
            if margin is not None:
                points.append(
                    _margin(study, records.comparisons.of(one.task, one.test_set, metric), margin)
                )
    points += [_values(study, mains), *_pairs(study, mains)]
    if "decoder_only" in study.methods:
        points += [_own(name, mains) for name in _methods(study) if name != "decoder_only"]
    if "scratch" in study.methods:
        points.append(_scratch(study, mains))
    return points


def _complete(study: Study, records: Aggregate) -> Point:
    runs = study.runs()
    done = sum(records.status(*run) == "done" for run in runs)
    found = f"{done} of {len(runs)} runs are done"
    return Point("every run has a record", study.study, found, done == len(runs))


def _images(one: Comparison) -> Point:
    found = f"{one.images} images"
    enough = one.images >= FEWEST_IMAGES
    return Point(f"at least {FEWEST_IMAGES} test images", _place(one, ""), found, enough)


def _margin(study: Study, one: Comparison, margin: float) -> Point:
    """The median method is better than the best control."""
    name = f"the median method is {margin:g} better than the best control"
    where = _place(one, metric_name(one.metric).title)
    methods = one.means.reindex(_methods(study)).dropna()
    controls = one.means.reindex([*CONTROLS]).dropna()
    if methods.empty or controls.empty:
        return Point(name, where, "no records of methods, or none of controls", False)
    sign = metric_name(one.metric).sign
    best = str((sign * controls).idxmax())
    gain = sign * float(methods.median() - controls[best])
    found = (
        f"{methods.median():.1f}, {CONTROLS[best].lower()} {controls[best]:.1f}:"
        f" {abs(gain):.1f} {'better' if gain >= 0 else 'worse'}"
    )
    return Point(name, where, found, gain >= margin)


def _values(study: Study, mains: list[Comparison]) -> Point:
    """Methods whose layers have no effect, as with a dead branch, all have the same value."""
    wanted = min(FEWEST_VALUES, len(study.methods))
    counts = [len(set(one.means.reindex(study.methods).dropna().round(_DECIMALS))) for one in mains]
    enough = sum(count >= wanted for count in counts)
    needed = int(np.ceil(_SHARE * len(mains)))
    return Point(
        f"at least {wanted} different values among the methods on {needed} test sets",
        study.study,
        f"on {enough} of {len(mains)}; values by test set: {_listed(counts)}",
        enough >= needed,
    )


def _pairs(study: Study, mains: list[Comparison]) -> Iterator[Point]:
    """Some methods differ by more than seeds and images explain.

    Those that start from the same weights and all train the mask decoder are closer to each other
    than to training from scratch, so fewer test sets are required.
    """
    for what, methods, share in (
        ("methods", study.methods, 1 / 2),
        ("methods that adapt the same weights", _methods(study), 1 / 3),
    ):
        pairs = [_different_pairs(one, methods) for one in mains]
        some = sum(count > 0 for count in pairs)
        yield Point(
            f"pairs of {what} that differ by more than chance"
            f" on {int(share * len(mains)) + 1} test sets",
            study.study,
            f"on {some} of {len(mains)}; pairs by test set: {_listed(pairs)}",
            some > share * len(mains),
        )


def _different_pairs(one: Comparison, methods: Sequence[str]) -> int:
    pairs = list(combinations(methods, 2))
    differences = (one.difference(a, b) for a, b in pairs)
    return sum(
        bool(d.significant_sign(comparisons=len(pairs))) for d in differences if d is not None
    )


def _own(method: str, mains: list[Comparison]) -> Point:
    """Each method's layers have an effect beyond the training of the mask decoder.

    A dead branch gives the scores of the mask decoder alone, up to rounding.
    """
    pairs = [one.means.reindex([method, "decoder_only"]).dropna() for one in mains]
    known = [pair.round(_DECIMALS) for pair in pairs if len(pair) == 2]
    apart = sum(pair[method] != pair["decoder_only"] for pair in known)
    return Point(
        "a method scores differently from the mask decoder alone on most test sets",
        method,
        f"on {apart} of {len(known)}; equal to the mask decoder alone on {len(known) - apart}",
        2 * apart > len(known),
    )


def _scratch(study: Study, mains: list[Comparison]) -> Point:
    """Adapted pretrained models are better than models trained from random weights."""
    gains = list(_gains_over_scratch(study, mains))
    above = sum(gain > 0 for gain in gains)
    needed = int(np.ceil(_SHARE * len(mains)))
    return Point(
        f"the median method is better than training from scratch on {needed} test sets",
        study.study,
        f"on {above} of {len(mains)}; points better: {_listed(f'{gain:+.1f}' for gain in gains)}",
        above >= needed,
    )


def _gains_over_scratch(study: Study, mains: list[Comparison]) -> Iterator[float]:
    for one in mains:
        methods = one.means.reindex(_methods(study)).dropna()
        if not methods.empty and "scratch" in one.means:
            yield metric_name(one.metric).sign * float(methods.median() - one.means["scratch"])


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values)) or "none"


def _methods(study: Study) -> list[str]:
    """The methods that adapt pretrained weights."""
    return [name for name in study.methods if name not in NOT_PEFT]


def _place(one: Comparison, metric: str) -> str:
    return " ".join(part for part in (one.task, one.test_set, metric) if part)
