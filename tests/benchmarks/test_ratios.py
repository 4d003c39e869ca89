"""Medians with intervals that cover as often as they should, and ratios that are rejected."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ratios import (
    LEAST,
    is_narrow,
    median_interval,
    ratio,
    share_of_peak,
    time_ratio,
    verdict,
)
from scipy import stats

NUMBERS = st.lists(st.floats(0.01, 100), min_size=LEAST, max_size=60)


@given(NUMBERS)
def test_the_interval_holds_the_median_and_is_of_the_values(values):
    interval = median_interval(values)
    assert interval is not None
    low, high = interval
    assert low <= statistics.median(values) <= high
    assert {low, high} <= set(values)


@pytest.mark.parametrize("count", [LEAST, 7, 12, 25, 40, 60])
def test_the_interval_is_that_of_order_statistics(count):
    """An independent derivation, from the quantiles of the binomial distribution."""
    values = list(np.random.default_rng(count).lognormal(size=count))
    below = int(stats.binom.ppf(0.025, count, 0.5))
    ordered = sorted(values)
    assert median_interval(values) == (ordered[below - 1], ordered[count - below])


def test_fewer_than_six_values_have_no_interval():
    assert median_interval([1.0] * (LEAST - 1)) is None
    assert median_interval([1.0] * LEAST) == (1.0, 1.0)
    assert not is_narrow([1.0] * (LEAST - 1), 0.5)


@pytest.mark.parametrize("count", [6, 15, 30])
def test_the_interval_covers_the_median_as_often_as_it_says(count):
    draws = np.random.default_rng(0).lognormal(sigma=0.5, size=(4000, count))
    covered = 0
    for values in draws:
        low, high = median_interval(list(values)) or (0, 0)
        covered += low <= 1.0 <= high  # the median of the distribution
    assert covered / len(draws) > 0.94


def side(seconds, outside=None, cpu=None):
    return {
        "seconds": seconds,
        "cpu_seconds": cpu or [2 * s for s in seconds],
        "outside": outside or [0.0] * len(seconds),
    }


def test_disturbed_turns_do_not_count():
    ours, theirs = [1.0, 9.0, 1.1, 1.0, 0.9, 1.0, 1.0, 1.0], [2.0] * 8
    outside = [0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.01, 0.0]
    line = time_ratio("a / b", side(ours, outside), side(theirs), 0.6)
    assert line["value"] == 0.5
    assert line["interval"] == [0.45, 0.55]
    assert "7 of 8 turns" in line["note"]
    assert verdict(line) == "met"
    # Either side disturbed is enough.
    line = time_ratio("b / a", side(theirs), side(ours, outside), None)
    assert line["value"] == 2.0


def test_processor_time_is_quoted():
    line = time_ratio("a / b", side([1.0] * 6, cpu=[1.5] * 6), side([2.0] * 6), None)
    assert "processor time 0.375" in line["note"]


def test_a_machine_that_is_never_quiet_gives_no_ratio():
    outside = [0.5, 0.4, 0.3, 0.2, 0.0, 0.0, 0.0]
    line = time_ratio("a / b", side([1.0] * 7, outside), side([2.0] * 7), 0.6)
    assert line["value"] is None
    assert "3 of 7 turns undisturbed" in line["note"]
    assert verdict(line) == "not measured"


@pytest.mark.parametrize(
    ("values", "target", "said"),
    [
        ([0.5] * 6, 0.4, "missed"),
        ([0.5] * 6, 0.5, "met, within the interval"),
        ([0.4, 0.5, 0.5, 0.5, 0.5, 0.6], 0.55, "met, within the interval"),
        ([0.4, 0.5, 0.5, 0.5, 0.5, 0.6], 0.45, "missed, within the interval"),
        ([0.5] * 6, None, ""),
    ],
)
def test_verdicts(values, target, said):
    assert verdict(time_ratio("a / b", side(values), side([1.0] * 6), target)) == said


def test_shares_of_a_peak_above_one_are_refused():
    assert share_of_peak("share", 50.0, 100.0)["value"] == 0.5
    refused = share_of_peak("share", 230.0, 100.0)
    assert refused["value"] is None
    assert "2.30 is impossible" in refused["note"]
    assert share_of_peak("share", None, 100.0)["value"] is None


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_what_is_no_ratio_is_an_error(value):
    with pytest.raises(ValueError, match="is no ratio"):
        ratio("a / b", value, None)
