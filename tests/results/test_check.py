"""Each point of `naslora check` on planted scores: one that passes, and one that fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from naslora.data.benchmarks.contract import get_benchmark
from naslora.evaluation.names import metric_name
from naslora.results.aggregate import Aggregate
from naslora.results.check import Point, _scratch, check
from naslora.results.comparison import Comparison
from naslora.study.layout import Layout
from naslora.study.records import CONTROLS
from naslora.study.settings import Study, load_study

METHODS = [
    "scratch", "decoder_only", "sam_adapter", "mona", "bitfit", "vpt", "lora", "conv_lora", "dora",
    "vera", "nas_lora", "nas_pc_lora",
]  # fmt: skip
Scores = Callable[[str, str, str], float]  # of task, metric and row


def good(task: str, metric: str, row: str) -> float:
    """Scores of a study that passes: controls at 30, scratch at 45, methods from 60 on."""
    if row in CONTROLS:
        value = 30.0 - list(CONTROLS).index(row)
    else:
        value = 45.0 if row == "scratch" else 60.0 + METHODS.index(row)
    return value if metric_name(metric).higher_is_better else 100 - value


class Planted:
    """Comparisons of planted scores, the same for both seeds but for a little noise."""

    def __init__(self, scores: Scores, images: int = 24, noise: float = 0.01):
        self._scores, self._images, self._noise = scores, images, noise

    def of(self, task: str, test_set: str, metric: str) -> Comparison:
        rng = np.random.default_rng(0)
        columns = {}
        for row in (*CONTROLS, *METHODS):
            value = self._scores(task, metric, row)
            noise = rng.normal(0, self._noise, 2) * (row in METHODS)
            columns[row] = pd.Series(value + noise, index=[0, 1])
        pooled = tuple(name for name in METHODS if name != "scratch")
        return Comparison(task, test_set, metric, pd.DataFrame(columns), None, self._images, pooled)


@pytest.fixture(scope="module")
def study() -> Study:
    tasks = ["kvasir", "sbu", "trans10k_v1", "trans10k_v2"]
    changes = {"tasks": tasks, "methods": METHODS, "seeds": [0, 1], "networks": []}
    return load_study("rehearsal", changes)


def records(study: Study, planted: Planted, missing: int = 0) -> Aggregate:
    sets = {task: dict.fromkeys(get_benchmark(task).test_sets, 24) for task in study.tasks}
    rows = [
        {
            "task": task,
            "variant": variant,
            "method": variant,
            "seed": seed,
            "status": "done",
            "images": sets[task],
        }
        for task, variant, seed in study.runs()
    ][missing:]
    nothing = pd.DataFrame()
    made = Aggregate(scores=nothing, runs=pd.DataFrame(rows), losses=nothing, problems=())
    vars(made)["comparisons"] = planted  # in place of the cached property
    return made


def failures(study: Study, planted: Planted, missing: int = 0) -> list[Point]:
    points = check(study, records(study, planted, missing))
    assert len(points) > 15
    return [point for point in points if not point.passed]


def test_a_study_that_tells_methods_apart_passes(study: Study) -> None:
    assert failures(study, Planted(good)) == []


def test_a_missing_run_fails(study: Study) -> None:
    (failed,) = failures(study, Planted(good), missing=1)
    assert failed.name == "every run has a record"
    runs = len(study.runs())
    assert failed.found == f"{runs - 1} of {runs} runs are done"


def test_too_few_images_fail(study: Study) -> None:
    failed = failures(study, Planted(good, images=23))
    assert {point.name for point in failed} == {"at least 24 test images"}
    assert all(point.found == "23 images" for point in failed)


def test_a_test_set_without_images_has_no_points(study: Study) -> None:
    made = records(study, Planted(good))
    made.runs["images"] = [
        images | ({"hard": 0} if task == "trans10k_v1" else {})
        for task, images in zip(made.runs["task"], made.runs["images"], strict=True)
    ]
    places = {point.where for point in check(study, records(study, Planted(good)))}
    left = {point.where for point in check(study, made)}
    assert left < places
    assert {place.split()[:2] == ["trans10k_v1", "hard"] for place in places - left} == {True}


@pytest.mark.parametrize(
    ("task", "metric", "margin"),
    [
        ("kvasir", "S_measure", 10),
        ("kvasir", "E_measure", 10),
        ("kvasir", "IoU", 15),
        ("kvasir", "Dice", 15),
        ("kvasir", "weighted_F", 15),
        ("sbu", "BER", 15),
        ("trans10k_v1", "mIoU_foreground", 10),
        ("trans10k_v2", "mIoU_foreground", 8),
    ],
)
def test_a_margin_that_is_too_small_fails(
    study: Study, task: str, metric: str, margin: int
) -> None:
    """The best control is raised, or lowered where less is better, to just above and below."""
    median = float(np.median([60 + METHODS.index(name) for name in METHODS[1:]]))

    def raised(by: float) -> Scores:
        def scores(at: str, of: str, row: str) -> float:
            if (at, of, row) != (task, metric, "control_mean_mask_best"):
                return good(at, of, row)
            value = median - by
            return value if metric_name(of).higher_is_better else 100 - value

        return scores

    assert failures(study, Planted(raised(margin + 0.1))) == []
    failed = failures(study, Planted(raised(margin - 0.1)))
    assert {point.where.split()[0] for point in failed} == {task}
    assert all(f"is {margin:g} better" in point.name for point in failed)
    assert all("best threshold" in point.found for point in failed)
    assert all(metric_name(metric).title in point.where for point in failed)


def test_methods_that_all_do_the_same_fail(study: Study) -> None:
    def same(task: str, metric: str, row: str) -> float:
        adapted = row in METHODS and row != "scratch"
        return good(task, metric, "vpt" if adapted else row)

    failed = failures(study, Planted(same, noise=0.0))
    values, pairs, *own = failed
    assert values.name.startswith("at least 8 different values")
    assert pairs.name.startswith("pairs of methods that adapt the same weights that differ")
    assert pairs.found.startswith("on 0 of ")
    assert [point.where for point in own] == METHODS[2:]


def test_one_dead_branch_fails(study: Study) -> None:
    def dead(task: str, metric: str, row: str) -> float:
        return good(task, metric, "decoder_only" if row == "lora" else row)

    (failed,) = failures(study, Planted(dead, noise=1e-5))
    assert failed.where == "lora"
    assert failed.found.startswith("on 0 of ")
    assert "equal to the mask decoder alone on" in failed.found


def test_methods_that_differ_by_chance_alone_fail(study: Study) -> None:
    names = [point.name for point in failures(study, Planted(good, noise=20.0))]
    assert sum(
        name.startswith("pairs of methods that differ by more than chance") for name in names
    )


def test_scratch_that_is_better_fails(study: Study) -> None:
    def better(task: str, metric: str, row: str) -> float:
        value = good(task, metric, row)
        if row != "scratch":
            return value
        return 90.0 if metric_name(metric).higher_is_better else 10.0

    (failed,) = failures(study, Planted(better))
    assert "better than training from scratch" in failed.name
    assert failed.found.startswith("on 0 of ")


def test_no_records_fail_and_say_so(study: Study) -> None:
    def none(task: str, metric: str, row: str) -> float:
        return float("nan")

    failed = failures(study, Planted(none))
    assert any(point.found.startswith("no records") for point in failed)


def test_the_command_exits_with_1_and_lists_what_failed(
    trained_study: Study, copied: Any, options: Any
) -> None:
    from typer.testing import CliRunner

    from naslora.cli import app

    study = copied(of=trained_study)
    Layout.of(study).record("kvasir", "lora", 0).unlink()
    result = CliRunner().invoke(app, ["check", *options(study)])
    assert result.exit_code == 1
    assert "FAILED  rehearsal: every run has a record\n        1 of 2 runs" in result.output
    assert result.output.rstrip().endswith("points passed")


def test_no_text_ends_without_its_values() -> None:
    study = load_study("paper", {"tasks": ["kvasir"], "methods": METHODS})
    point = _scratch(study, [])
    assert point.found == "on 0 of 0; points better: none"
