"""Compare methods on user-supplied images, through the workflow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from naslora.core.errors import WorkflowError
from naslora.core.wording import counted
from naslora.data.benchmarks.contract import get_benchmark
from naslora.evaluation.names import main_metric, metric_name
from naslora.own.study import STUDY, FitOptions, make_study
from naslora.results.aggregate import aggregate
from naslora.study.layout import Layout
from naslora.study.settings import Study
from naslora.workflow.run import run_snakemake


@dataclass(frozen=True)
class Winner:
    """The result of a comparison on one task.

    Attributes:
        means: mean score over seeds by method, the best first, as tables show them.
        leaders: the best method and those that do not differ from it significantly.
        sentence: the same in words.
    """

    means: dict[str, float]
    leaders: tuple[str, ...]
    sentence: str


def compare(
    data: Path,
    out: Path,
    methods: Sequence[str],
    seeds: Sequence[int],
    options: FitOptions | None = None,
    profile: str = "local",
    log: Callable[[str], None] = print,
) -> Winner:
    """Train several methods with several seeds, and report which one is the best.

    Args:
        data: the images and masks; see `naslora.own.fit.fit`.
        out: the folder of the comparison; the same call resumes one that was stopped.
        methods: the methods by name, or the files of methods from outside the package.
        seeds: the random seeds of the runs; the first is also that of the split.
        options: backbone, image size, training, and how masks are read.
        profile: local, slurm, or a Snakemake profile of the user's.
        log: called with lines to print.

    Raises:
        AuditError: the images are not a data set, or masks are ambiguous.
        SettingsError: a setting is invalid, or `out` holds another study.
        WorkflowError: a job failed.
    """
    options = options or FitOptions()
    study, settings = make_study(
        data, out, methods, seeds, options, log, here=profile == "local", threads=False
    )
    code = run_snakemake(STUDY, settings, profile, "all_tables")
    if code:
        raise WorkflowError(
            f"the comparison failed: Snakemake's exit code is {code}",
            where=Layout.of(study).root,
            remedy="see the messages above; the same command continues with the rest",
        )
    winner = find_winner(study)
    for name, mean in winner.means.items():
        log(f"  {name:16} {mean:6.1f}")
    log(winner.sentence)
    log(f"report: {Layout.of(study).report}")
    return winner


def find_winner(study: Study) -> Winner:
    """The best method of a study of one task, by the main metric of its first test set.

    Two methods differ significantly if the intervals of their difference over seeds and over test
    images both exclude zero, at a level of 5 % divided by the number of comparisons with the best.
    """
    (task,) = study.tasks
    benchmark = get_benchmark(task)
    test_set, metric = benchmark.test_sets[0], main_metric(benchmark.metrics)
    comparison = aggregate(study).comparisons.of(task, test_set, metric)
    name = metric_name(metric)
    means = comparison.means.reindex(study.methods).dropna()
    means = means.sort_values(ascending=not name.higher_is_better)
    if means.empty:
        return Winner({}, (), "No run ended with a score.")
    best = str(means.index[0])
    others = [str(other) for other in means.index[1:]]
    leaders = [best]
    for other in others:
        difference = comparison.difference(best, other)
        if difference is None or difference.significant_sign(len(others)) <= 0:
            leaders.append(other)
    seeds = counted(len(study.seeds), "seed")
    if len(leaders) == 1 and others:
        sentence = f"{best} is the best ({name.title}, {seeds}): better than every other method."
    elif not others:
        sentence = f"Only {best} has a score ({name.title}, {seeds}): there is nothing to compare."
    else:
        listed = ", ".join(leaders[1:])
        sentence = (
            f"There is no winner ({name.title}, {seeds}): {best} has the best mean, but is"
            f" not significantly better than {listed}."
        )
    return Winner({str(k): float(v) for k, v in means.items()}, tuple(leaders), sentence)
