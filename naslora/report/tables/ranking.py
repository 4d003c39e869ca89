"""The ranking of methods over tasks, and the smallest differences that can be detected."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from statistics import median
from typing import Any

import pandas as pd

from naslora.core.files import write_text
from naslora.core.wording import joined, signed
from naslora.data.benchmarks.contract import get_benchmark
from naslora.evaluation.names import metric_name
from naslora.paper.published import METHOD_ROWS, NAS_METHODS, NOT_PEFT, printed
from naslora.report.tables import table1
from naslora.report.tables.markdown import DASH, bullets, grid, plain
from naslora.report.tables.model import row_title, run_title
from naslora.results.aggregate import Aggregate
from naslora.results.difference import LEVEL
from naslora.results.ranking import FEWEST_TASKS, REFERENCE, Ranking, rank
from naslora.study.layout import Layout
from naslora.study.settings import Study

NAME = "ranking"


def write_ranking(study: Study, records: Aggregate) -> None:
    """Write the ranking as CSV and Markdown.

    The CSV has a line per test set and method, with the difference to LoRA and its intervals, and
    one per method with its mean rank over tasks (`task` is `all`).

    Raises:
        RecordError: the per-image metrics of a record cannot be read.
        DiskError: a file cannot be written.
    """
    layout, ranking = Layout.of(study), rank(study, records)
    write_text(layout.table(NAME, "csv"), _csv_text(study, ranking, records))
    write_text(layout.table(NAME, "md"), _markdown_text(study, ranking, records))


def first_sentence(ranking: Ranking, records: Aggregate) -> str:
    """The leading method, or that no method differs significantly, as a sentence."""
    tasks = len(ranking.ranks)
    if ranking.friedman is None:
        fewer = f"a ranking needs {FEWEST_TASKS} methods that are done on {FEWEST_TASKS} tasks"
        return f"The methods are not ranked: {fewer}, and there are {_count(ranking)}."
    p = ranking.friedman[1]
    test = f"Friedman's test over {tasks} tasks, p = {_p(p)}"
    if not ranking.different:
        return f"The methods do not differ significantly ({test})."
    first, *others = ranking.leaders
    mean = f"mean rank {ranking.mean_ranks.iloc[0]:.1f} of {len(ranking.mean_ranks)}"
    ahead = f"{run_title(records, first)} ranks first ({mean}; {test})"
    if not others:
        return f"{ahead}, and differs significantly from all others."
    if len(others) == len(ranking.mean_ranks) - 1:
        return f"{ahead}, but it does not differ significantly from any other method."
    near = joined([run_title(records, name) for name in others])
    return f"{ahead}; it does not differ significantly from {near}."


def smallest_differences(ranking: Ranking) -> str:
    """The difference that this number of seeds can detect, beside the paper's, as sentences."""
    found = ranking.differences["smallest"].dropna()
    low, high = paper_leads()
    paper = (
        "In the paper's Table 1 the better of NAS-LoRA and NAS-PC-LoRA differs from the best other "
        f"method by {low:.1f} to {high:.1f} points (median {median(_leads()):.1f})."
    )
    if found.empty:
        return (
            f"With one seed no difference between methods can be distinguished from chance. {paper}"
        )
    seeds = int(ranking.differences["seeds"].max())
    return (
        f"With {seeds} seeds, a true difference to {METHOD_ROWS[REFERENCE]} of "
        f"{found.median():.1f} points (median over test sets and methods; from {found.min():.1f} "
        f"to {found.max():.1f}) would be found in four of five repetitions. {paper}"
    )


def paper_leads() -> tuple[float, float]:
    """The least and the largest absolute lead of the paper's methods, in points."""
    leads = _leads()
    return min(leads), max(leads)


def _leads() -> list[float]:
    others = [m for m in METHOD_ROWS if m not in NAS_METHODS and m not in NOT_PEFT]
    leads = []
    for column in table1.PAPER_COLUMNS:
        sign = 1 if column.higher_is_better else -1

        def best(methods: Sequence[str], key: str = column.key, sign: int = sign) -> float:
            found = (printed("1", METHOD_ROWS[method], key) for method in methods)
            return max(sign * number.value for number in found if number is not None)

        leads.append(abs(best(NAS_METHODS) - best(others)))
    return leads


def _csv_text(study: Study, ranking: Ranking, records: Aggregate) -> str:
    lines = ranking.differences.assign(mean_rank=float("nan"))
    whole = pd.DataFrame(
        {
            "task": "all",
            "method": ranking.mean_ranks.index,
            "mean_rank": ranking.mean_ranks.to_numpy(),
        }
    )
    both = pd.concat([whole, lines], ignore_index=True)
    both.insert(
        int(both.columns.get_loc("method")) + 1,  # type: ignore[arg-type]
        "title",
        [row_title(study, records, name) for name in both["method"]],
    )
    return both.to_csv(index=False, lineterminator="\n")


def _markdown_text(study: Study, ranking: Ranking, records: Aggregate) -> str:
    parts = [
        f"# Ranking, study {plain(study.study)}",
        first_sentence(ranking, records),
        smallest_differences(ranking),
    ]
    if len(ranking.ranks):
        parts += ["## Mean ranks over tasks", _ranks(ranking, records), bullets(_tests(ranking))]
    if len(ranking.differences):
        parts += [
            f"## Differences to {METHOD_ROWS[REFERENCE]}",
            _differences(study, ranking, records),
            bullets(_READING),
        ]
    return "\n\n".join(parts) + "\n"


def _ranks(ranking: Ranking, records: Aggregate) -> str:
    """Main metric by task, its rank in brackets, the best mean rank first."""
    tasks = list(ranking.ranks.index)
    lines = []
    for name, mean in ranking.mean_ranks.items():
        scores, ranks = ranking.scores[name].abs(), ranking.ranks[name]  # of errors the negative
        cells = [f"{scores[task]:.1f} ({ranks[task]:g})" for task in tasks]
        lines.append([run_title(records, str(name)), f"{mean:.2f}", *cells])
    return grid(["Method", "Mean rank", *(get_benchmark(task).title for task in tasks)], lines)


def _tests(ranking: Ranking) -> list[str]:
    lines = [
        "Each task has its main metric, averaged over its test sets, and the rank in brackets. "
        "Models that are trained as a whole and networks other than SAM are not ranked."
    ]
    if ranking.friedman and ranking.critical_difference:
        statistic, p = ranking.friedman
        lines.append(
            f"Friedman's test: chi squared {statistic:.2f}, p = {_p(p)}. Nemenyi: mean ranks less "
            f"than {ranking.critical_difference:.2f} apart do not differ significantly at 5 %."
        )
    if ranking.wilcoxon is not None and len(ranking.wilcoxon):
        different = int((ranking.wilcoxon < LEVEL).sum())
        lines.append(
            f"Wilcoxon's signed-rank test against {METHOD_ROWS[REFERENCE]}, corrected by Holm: "
            f"{different} of {len(ranking.wilcoxon)} methods differ; the smallest p is "
            f"{_p(float(ranking.wilcoxon.min()))}."
        )
    if ranking.left_out:
        lines.append(f"Not ranked, since a task is missing: {', '.join(ranking.left_out)}.")
    return lines


_READING = (
    "Points of the task's main metric, above 0 is better: the difference ± half of its 95 % "
    "t-interval over seeds (paired by seed, the variance pooled over methods; Welch's for models "
    "that are trained as a whole) / half of its 95 % bootstrap interval over test images (all runs "
    "are resampled with the same images).",
    "Bold: both intervals exclude zero.",
    "Detectable: the median of the true differences that this number of seeds would show in four "
    "of five repetitions.",
)


def _differences(study: Study, ranking: Ranking, records: Aggregate) -> str:
    """A row per method or variant and a column per test set."""
    frame = ranking.differences
    sets = list(dict.fromkeys(zip(frame["task"], frame["test_set"], frame["metric"], strict=True)))
    cells = {
        (row["task"], row["test_set"], row["method"]): _difference(row)
        for row in frame.to_dict("records")
    }
    lines = [
        [
            row_title(study, records, name),
            *(cells.get((task, part, name), DASH) for task, part, _ in sets),
        ]
        for name in dict.fromkeys(frame["method"])
    ]
    smallest = frame.groupby(["task", "test_set"])["smallest"].median()
    found = [smallest[task, part] for task, part, _ in sets]
    lines.append(["Detectable", *(DASH if pd.isna(one) else f"{one:.1f}" for one in found)])
    return grid(["Method", *(_set_title(*one) for one in sets)], lines)


def _difference(row: Mapping[Hashable, Any]) -> str:
    text = signed(row["difference"])
    text = f"**{text}**" if row["significant"] else text
    halves = [(row[f"{kind}_high"] - row[f"{kind}_low"]) / 2 for kind in ("seeds", "images")]
    return f"{text} ± {' / '.join(DASH if pd.isna(half) else f'{half:.1f}' for half in halves)}"


def _set_title(task: str, test_set: str, metric: str) -> str:
    benchmark = get_benchmark(task)
    place = f"{benchmark.title} {test_set}" if len(benchmark.test_sets) > 1 else benchmark.title
    return f"{place}, {metric_name(metric).title}"


def _count(ranking: Ranking) -> str:
    tasks, methods = ranking.scores.shape
    return f"{methods} on {tasks}"


def _p(p: float) -> str:
    return f"{p:.1e}" if p < 0.001 else f"{p:.3f}"
