"""The main results of a study in a few sentences, for the head of its report."""

from __future__ import annotations

import pandas as pd

from naslora.data.benchmarks.contract import get_benchmark
from naslora.evaluation.names import main_metric
from naslora.report.tables.model import run_title
from naslora.report.tables.own_tasks import own_tasks
from naslora.results.aggregate import Aggregate
from naslora.results.check import check
from naslora.results.comparison import Comparisons
from naslora.results.ranking import REFERENCE, Ranking, rank
from naslora.results.verdict import judge
from naslora.study.settings import Study


def findings(study: Study, records: Aggregate, comparisons: Comparisons) -> list[str]:
    """Sentences, the most important first; none without a run."""
    ranking = rank(study, records, comparisons)
    lines = [_leaders(records, ranking), *_against_lora(records, ranking)]
    lines += _against_controls(study, records, comparisons)
    return [line for line in lines if line]


def banner(study: Study, records: Aggregate, comparisons: Comparisons) -> str:
    """A warning if checks of the study's scores fail; else empty.

    Studies of users' data sets are not checked: `findings` says what their scores are worth.
    """
    if records.runs.empty:
        return "Nothing has been run: all tables are empty."
    if len(own_tasks(study)) == len(study.tasks):
        return ""
    points = check(study, records, comparisons)
    failed = [point for point in points if not point.passed]
    if not failed:
        return ""
    shown = "; ".join(f"{one.name} ({one.where}: {one.found})" for one in failed[:3])
    more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
    return (
        f"Read these scores with care: {len(failed)} of {len(points)} checks of the study fail, so"
        f" a broken method might not stand out: {shown}{more}. `naslora check --study"
        f" {study.study}` lists all."
    )


def _leaders(records: Aggregate, ranking: Ranking) -> str:
    ranks = ranking.mean_ranks
    if len(ranks) < 2:
        return ""
    titles = [run_title(records, name) for name in ranking.leaders]
    best = f"{titles[0]} has the best mean rank over {_tasks(ranking)} ({ranks.iloc[0]:.1f})"
    if ranking.friedman is None:
        return f"{best}; fewer than three tasks or methods rank nothing for certain."
    p = ranking.friedman[1]
    if not ranking.different:
        over = _tasks(ranking)
        return f"The methods do not differ significantly over {over} (Friedman: p = {p:.2g})."
    if len(titles) == 1:
        return (
            f"{best}, and differs significantly from all others (Friedman: p = {p:.2g}; Nemenyi,"
            " 5 %)."
        )
    return (
        f"{best}, but is not significantly better than {_listed(titles[1:])} (Friedman:"
        f" p = {p:.2g}; Nemenyi: the critical difference is {ranking.critical_difference:.1f})."
    )


def _against_lora(records: Aggregate, ranking: Ranking) -> list[str]:
    """How often each searched method is better or worse than LoRA beyond chance."""
    lines = []
    found = ranking.differences
    for method, part in found.groupby("method", sort=False):
        if not str(method).startswith("nas_"):
            continue
        better, worse = int((part["significant"] > 0).sum()), int((part["significant"] < 0).sum())
        smallest = pd.to_numeric(part["smallest"]).median()
        line = (
            f"{run_title(records, str(method))} is better than {run_title(records, REFERENCE)}"
            f" beyond chance on {better} of {len(part)} test sets, and worse on {worse}"
        )
        if pd.notna(smallest):
            line += (
                f"; with {int(part['seeds'].max())} seeds, a true difference of {smallest:.1f} "
                "points (median over test sets) would be found in four of five repetitions"
            )
        lines.append(f"{line}.")
    return lines


def _against_controls(study: Study, records: Aggregate, comparisons: Comparisons) -> list[str]:
    """Of tasks that the paper does not have, whether each method has learnt anything."""
    lines = []
    for task in own_tasks(study):
        benchmark = get_benchmark(task)
        for test_set in benchmark.test_sets:
            comparison = comparisons.of(task, test_set, main_metric(benchmark.metrics))
            for method in study.methods:
                verdict = judge(comparison, method)
                if verdict is not None:
                    lines.append(f"{run_title(records, method)}: {verdict.sentence}")
    return lines


def _tasks(ranking: Ranking) -> str:
    count = len(ranking.scores)
    return f"{count} task{'s' if count != 1 else ''}"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
