"""The main results of a study in a few sentences, for the head of its report."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from naslora.core.wording import counted, first_of, joined, signed
from naslora.data.benchmarks.contract import get_benchmark
from naslora.evaluation.names import main_metric
from naslora.paper.published import NAS_METHODS, NOT_PEFT
from naslora.report.figures.captions import test_set_title
from naslora.report.tables.model import row_title, run_title
from naslora.report.tables.own_tasks import has_paper_tasks, own_tasks
from naslora.report.tables.ranking import first_sentence
from naslora.report.tables.standing import SCRATCH
from naslora.results.aggregate import Aggregate
from naslora.results.check import check
from naslora.results.comparison import Comparison
from naslora.results.ranking import REFERENCE, Ranking, differences, main_comparisons, rank
from naslora.results.verdict import judge
from naslora.study.settings import Study


def findings(study: Study, records: Aggregate) -> list[str]:
    """Sentences, the most important first; none without a run."""
    ranking = rank(study, records)
    lines = []
    if len(ranking.mean_ranks) > 1:
        lines += [first_sentence(ranking, records), _leader_against_lora(records, ranking)]
        lines += _variants_against_leader(study, records, ranking)
    lines += _from_scratch(study, records)
    lines += _against_lora(records, ranking)
    lines += _against_controls(study, records)
    return [line for line in lines if line]


def banner(study: Study, records: Aggregate) -> str:
    """A warning if checks of the study's scores fail; else empty.

    Studies of users' data sets are not checked: `findings` says what their scores are worth.
    """
    if records.runs.empty:
        return "Nothing has been run: all tables are empty."
    if not has_paper_tasks(study):
        return ""
    points = check(study, records)
    failed = [point for point in points if not point.passed]
    if not failed:
        return ""
    places: dict[str, list[str]] = {}
    for one in failed:
        places.setdefault(one.name, []).append(one.where)
    lines = [f"{name} (not {first_of(found, 4)})" for name, found in places.items()]
    return (
        f"Read these scores with care: {len(failed)} of {len(points)} checks of the study fail, so"
        f" a broken method might not stand out. Not fulfilled: {'; '.join(lines)}."
        f" `naslora check --study {study.study}` lists all."
    )


def _leader_against_lora(records: Aggregate, ranking: Ranking) -> str:
    """How the method with the best mean rank differs from LoRA, over test sets."""
    ranks, found = ranking.mean_ranks, ranking.differences
    if ranks.index[0] == REFERENCE:
        return ""
    part = found[found["method"] == ranks.index[0]].sort_values("difference", kind="stable")
    if part.empty:
        return ""
    title, reference = run_title(records, str(ranks.index[0])), run_title(records, REFERENCE)
    lines = [_with_interval(line) for line in part.to_dict("records")]
    median = float(part["difference"].median())
    if len(lines) == 1:
        return f"{title} against {reference}: {lines[0]}."
    return (
        f"{title} against {reference}, in points of the main metric: from {lines[0]} to"
        f" {lines[-1]}; the median over {len(lines)} test sets is {median:+.1f}."
        f" It is significantly better on {int((part['significant'] > 0).sum())}, and worse on"
        f" {int((part['significant'] < 0).sum())}."
    )


def _variants_against_leader(study: Study, records: Aggregate, ranking: Ranking) -> list[str]:
    """How each variant that runs on every task differs from the method with the best mean rank."""
    leader = str(ranking.mean_ranks.index[0])
    lines = []
    for variant in study.general_variants():
        found = differences(main_comparisons(study, records), [variant], to=leader)
        if found.empty:
            continue
        better, worse = (found[sign * found["significant"] > 0] for sign in (1, -1))
        count = records.parameters(variant, study.tasks, "trainable_parameters")
        size = f" ({count / 1e6:.2f} million trained parameters)" if count else ""
        lines.append(
            f"{row_title(study, records, variant)}{size}, which is not ranked, is significantly"
            f" better than {run_title(records, leader)} on {_places(better)} of"
            f" {counted(len(found), 'test set')}, and worse on {_places(worse)}."
        )
    return lines


def _with_interval(line: Mapping[Hashable, Any]) -> str:
    """A difference with the wider of its intervals over seeds and over test images."""
    pairs = [(line[f"{kind}_low"], line[f"{kind}_high"]) for kind in ("seeds", "images")]
    known = [(low, high) for low, high in pairs if pd.notna(low)]
    place = test_set_title(str(line["task"]), str(line["test_set"]))
    text = f"{signed(line['difference'])} on {place}"
    if not known:
        return text
    low, high = max(known, key=lambda one: one[1] - one[0])
    return f"{text} (95 % interval {low:+.1f} to {high:+.1f})"


def _from_scratch(study: Study, records: Aggregate) -> list[str]:
    """Where each model trained from scratch is better, or worse, than all methods that adapt."""
    adapting = [name for name in study.methods if name not in NOT_PEFT]
    rows = [*study.networks, *(name for name in study.methods if name == SCRATCH)]
    lines = []
    for row in rows:
        places = [
            place
            for one in main_comparisons(study, records)
            if (place := _place(one, row, adapting, records)) is not None
        ]
        if places:
            lines.append(_from_scratch_line(run_title(records, row), places))
    return lines


@dataclass(frozen=True)
class _Place:
    """A row among the methods that adapt, on one test set.

    Attributes:
        title: of the test set.
        ahead: True if it is better than all of them, False if worse than all, else None.
        scores: the title with its score and that of the best of them.
    """

    title: str
    ahead: bool | None
    scores: str


def _place(one: Comparison, row: str, adapting: Sequence[str], records: Aggregate) -> _Place | None:
    means, sign, digits = one.means, one.name.sign, one.name.decimals
    others = sign * means.reindex(list(adapting)).dropna()
    if row not in means or others.empty:
        return None
    best, own = str(others.idxmax()), sign * means[row]
    difference = one.difference(row, best)
    significant = difference is not None and difference.significant_sign() > 0
    title = test_set_title(one.task, one.test_set)
    return _Place(
        title=title,
        ahead=True if own > others.max() else False if own < others.min() else None,
        scores=f"{title} ({means[row]:.{digits}f} against {means[best]:.{digits}f} of"
        f" {run_title(records, best)}, {'' if significant else 'not '}significant)",
    )


def _from_scratch_line(title: str, places: Sequence[_Place]) -> str:
    parts = [
        f"{where} on {joined(titles)}"
        for where, titles in (
            ("better than all", [one.scores for one in places if one.ahead is True]),
            ("between the best and the worst", [o.title for o in places if o.ahead is None]),
            ("worse than all", [one.title for one in places if one.ahead is False]),
        )
        if titles
    ]
    return (
        f"Compared with the methods that adapt SAM, {title}, which is not pretrained, is"
        f" {'; '.join(parts)}."
    )


def _against_lora(records: Aggregate, ranking: Ranking) -> list[str]:
    """Where each searched method, and fine-tuning of the whole SAM, differ from LoRA."""
    lines = []
    found = ranking.differences
    for method, part in found.groupby("method", sort=False):
        whole = method in NOT_PEFT and method != SCRATCH
        if not whole and method not in NAS_METHODS:
            continue
        better, worse = (part[sign * part["significant"] > 0] for sign in (1, -1))
        differs = len(better) + len(worse)
        title, reference = run_title(records, str(method)), run_title(records, REFERENCE)
        line = (
            f"{title} differs significantly from {reference} on {differs} of"
            f" {counted(len(part), 'test set')}: it is better on {_places(better)}, and worse on"
            f" {_places(worse)}"
        )
        smallest = pd.to_numeric(part["smallest"]).median()
        if pd.notna(smallest) and not whole:
            line += (
                f"; with {int(part['seeds'].max())} seeds, a true difference of {smallest:.1f} "
                "points (median over test sets) would be found in four of five repetitions"
            )
        lines.append(f"{line}.")
    return lines


def _places(part: pd.DataFrame) -> str:
    """How many test sets, and which."""
    titles = [test_set_title(*one) for one in zip(part["task"], part["test_set"], strict=True)]
    return f"{len(titles)} ({joined(titles)})" if titles else "none"


def _against_controls(study: Study, records: Aggregate) -> list[str]:
    """Whether each method has learnt anything, on tasks that the paper does not have."""
    lines = []
    for task in own_tasks(study):
        benchmark = get_benchmark(task)
        for test_set in benchmark.test_sets:
            comparison = records.comparisons.of(task, test_set, main_metric(benchmark.metrics))
            for method in study.methods:
                verdict = judge(comparison, method)
                if verdict is not None:
                    lines.append(f"{run_title(records, method)}: {verdict.sentence}")
    return lines
