"""The ranking of methods over tasks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from naslora.results.aggregate import aggregate
from naslora.results.ranking import _friedman, critical_difference, rank
from naslora.study.settings import Study


def test_the_critical_difference_is_that_of_demsar() -> None:
    """Demsar (2006), section 3.2.2: four classifiers on 14 data sets."""
    assert critical_difference(14, 4) == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 14)), abs=1e-3)
    assert critical_difference(14, 4) == pytest.approx(1.25, abs=0.01)


def test_methods_are_ranked_within_tasks(every_task: Study) -> None:
    """Scores rise with the order of methods, and errors fall for the later ones too."""
    ranking = rank(every_task, aggregate(every_task))
    assert list(ranking.scores.index) == every_task.tasks
    assert set(ranking.scores) == set(every_task.methods)
    assert ranking.left_out == ()
    expected = ranking.scores.rank(axis=1, ascending=False)
    pd.testing.assert_frame_equal(ranking.ranks, expected)
    assert ranking.friedman is not None
    p = stats.friedmanchisquare(*ranking.scores.T.to_numpy()).pvalue
    assert ranking.friedman[1] == pytest.approx(p)
    assert ranking.mean_ranks.is_monotonic_increasing


def test_methods_that_tie_on_every_task_do_not_differ() -> None:
    """Friedman's statistic is then 0 / 0, and its p must not be NaN."""
    scores = pd.DataFrame({name: [60.0, 70.0, 80.0] for name in ("lora", "vpt", "mona")})
    assert _friedman(scores) == (0.0, 1.0)


def test_an_error_counts_as_its_negative(every_task: Study) -> None:
    """The synthetic scores of sbu rise with the order of methods, and less is better there."""
    ranking = rank(every_task, aggregate(every_task))
    first, *_, last = every_task.methods
    assert ranking.ranks.loc["sbu", first] < ranking.ranks.loc["sbu", last]
    assert ranking.ranks.loc["kvasir", first] > ranking.ranks.loc["kvasir", last]


def test_differences_are_against_lora(every_task: Study) -> None:
    differences = rank(every_task, aggregate(every_task)).differences
    assert set(differences["method"]) == set(every_task.methods) - {"lora"}
    one = differences.set_index(["task", "test_set", "method"]).loc[("leaf", "test", "nas_lora")]
    assert one["metric"] == "IoU"
    assert (one["seeds"], one["images"]) == (2, 10)
    assert one["seeds_low"] <= one["difference"] <= one["seeds_high"]
    assert one["images_low"] <= one["difference"] <= one["images_high"]


def test_without_records_there_is_no_ranking(study: Study) -> None:
    ranking = rank(study, aggregate(study))
    assert ranking.differences.empty
    assert ranking.friedman is None
    assert ranking.critical_difference is None
    assert list(ranking.mean_ranks.index) == []
    assert set(ranking.left_out) == set(study.methods)
