"""Intervals of differences over seeds and over images, against the libraries' own tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from naslora.results.aggregate import aggregate
from naslora.results.comparison import Comparison, bootstrap, mean_comparison
from naslora.results.difference import Difference
from naslora.results.set_metrics import set_metric
from naslora.study.settings import Study


def compared(
    scores: dict[str, list[float]],
    *,
    metric: str = "IoU",
    replicates: pd.DataFrame | None = None,
    pooled: tuple[str, ...] | None = None,
) -> Comparison:
    frame = pd.DataFrame(scores)
    rows = tuple(scores) if pooled is None else pooled
    return Comparison("kvasir", "test", metric, frame, replicates, 24, rows)


def test_two_rows_alone_are_a_paired_t_test() -> None:
    one, other = [61.2, 63.0, 60.1, 64.4], [60.0, 61.1, 60.4, 62.0]
    difference = compared({"a": one, "b": other}).difference("a", "b")
    expected = stats.ttest_rel(one, other)
    assert difference is not None
    assert difference.mean == pytest.approx(np.mean(np.subtract(one, other)))
    interval = expected.confidence_interval(0.95)
    assert difference.over_seeds() == pytest.approx((interval.low, interval.high))
    assert difference.significant_sign() == (1 if expected.pvalue < 0.05 else 0)


def test_several_rows_pool_the_residual_of_rows_and_seeds() -> None:
    import statsmodels.formula.api as smf
    from statsmodels.stats.anova import anova_lm

    rng = np.random.default_rng(0)
    values = rng.normal([[60], [64], [61], [70]], 1.0, (4, 3)) + rng.normal(0, 3, 3)
    names = ["a", "b", "c", "d"]
    comparison = compared({name: list(row) for name, row in zip(names, values, strict=True)})
    long = pd.DataFrame(values, index=names).stack().reset_index()
    long.columns = pd.Index(["row", "seed", "score"])
    fitted = smf.ols("score ~ C(row) + C(seed)", long).fit()
    residual = anova_lm(fitted).loc["Residual"]
    difference = comparison.difference("b", "a")
    assert difference is not None
    assert difference.degrees == residual["df"]
    assert difference.seeds_error == pytest.approx(np.sqrt(2 * residual["mean_sq"] / 3))


def test_a_control_is_compared_by_the_spread_within_rows() -> None:
    scores = {"a": [60.0, 62.0], "b": [70.0, 71.0], "control_blank": [50.0, 50.0]}
    difference = compared(scores, pooled=("a", "b")).difference("a", "control_blank")
    assert difference is not None
    assert difference.degrees == 2
    assert difference.seeds_error == pytest.approx(np.sqrt((2.0 + 0.5) / 2 / 2))


SCORES = {
    "a": [60.0, 62.0, 61.0],
    "b": [70.0, 71.0, 72.5],
    "scratch": [30.0, 50.0, 41.0],
    "unet": [55.0, 55.2, 55.1],
}


@pytest.mark.parametrize("alone", ["scratch", "unet"])
def test_a_row_in_the_pool_and_one_outside_are_compared_by_welchs_test(alone: str) -> None:
    difference = compared(SCORES, pooled=("a",)).difference("a", alone)
    expected = stats.ttest_ind(SCORES["a"], SCORES[alone], equal_var=False)
    assert difference is not None
    assert difference.degrees == int(expected.df)
    assert difference.mean / difference.seeds_error == pytest.approx(expected.statistic)
    # A second row in the pool: its spread counts too.
    difference = compared(SCORES, pooled=("a", "b")).difference("a", alone)
    within = np.var([SCORES["a"], SCORES["b"]], axis=1, ddof=1).mean()
    assert difference is not None
    assert difference.seeds_error == pytest.approx(
        np.sqrt((within + np.var(SCORES[alone], ddof=1)) / 3)
    )


def test_two_rows_outside_the_pool_are_compared_by_their_own_differences() -> None:
    difference = compared(SCORES, pooled=("a", "b")).difference("unet", "scratch")
    expected = stats.ttest_rel(SCORES["unet"], SCORES["scratch"]).confidence_interval(0.95)
    assert difference is not None
    assert difference.over_seeds() == pytest.approx((expected.low, expected.high))


def test_less_is_better_for_errors() -> None:
    difference = compared({"a": [5.0, 5.1], "b": [7.0, 7.2]}, metric="BER").difference("a", "b")
    assert difference is not None
    assert difference.mean == pytest.approx(2.05)


def test_only_seeds_that_both_have_count() -> None:
    difference = compared({"a": [1.0, 2.0, 3.0], "b": [0.0, np.nan, 1.5]}).difference("a", "b")
    assert difference is not None
    assert (difference.seeds, difference.mean) == (2, pytest.approx(1.25))
    assert compared({"a": [1.0, np.nan], "b": [np.nan, 1.0]}).difference("a", "b") is None
    assert compared({"a": [1.0]}).difference("a", "missing") is None


def test_a_difference_is_significant_only_over_both_seeds_and_images() -> None:
    def difference(seeds_error: float | None, images_error: float | None) -> Difference:
        return Difference(3.0, 3, 24, seeds_error, 20, images_error)

    assert difference(1.0, 1.0).significant_sign() == 1
    assert difference(1.0, 2.0).significant_sign() == 0
    assert difference(2.0, 1.0).significant_sign() == 0
    assert difference(1.0, None).significant_sign() == 1
    assert difference(None, 1.0).significant_sign() == 1
    assert difference(None, None).significant_sign() == 0
    assert difference(1.0, 1.0).significant_sign(comparisons=20) == 0
    assert Difference(-3.0, 3, 24, 1.0, 20, 1.0).significant_sign() == -1
    assert Difference(0.0, 3, 24, 0.0, 20, 0.0).significant_sign() == 0


def test_the_smallest_difference_is_found_in_four_of_five_simulated_studies() -> None:
    spread, seeds, rng = 0.7, 3, np.random.default_rng(1)
    error = spread / np.sqrt(seeds)
    smallest = Difference(0.0, seeds, 24, error, seeds - 1, None).smallest()
    assert smallest is not None
    studies = rng.normal(smallest, spread, (20_000, seeds))
    found = np.mean(stats.ttest_1samp(studies, 0, axis=1).pvalue < 0.05)
    assert found == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("degrees", [1, 2, 3, 20, 1000])
def test_the_smallest_difference_is_that_of_statsmodels(degrees: int) -> None:
    from statsmodels.stats.power import ttest_power

    smallest = Difference(0.0, degrees + 1, 24, 0.5, degrees, None).smallest()
    assert smallest is not None
    power = ttest_power(smallest / 0.5, 1, 0.025, df=degrees, alternative="larger")
    assert power == pytest.approx(0.8, abs=1e-4)


@pytest.mark.parametrize("seeds", [2, 3])
def test_seeds_that_never_differ_show_any_difference(seeds: int) -> None:
    assert Difference(1.0, seeds, 24, 0.0, seeds - 1, None).smallest() == 0
    assert Difference(1.0, 1, 24, None, 0, None).smallest() is None


def test_the_bootstrap_of_a_mean_has_its_standard_error() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(0.5, 0.2, (200, 2))
    rows = {
        name: [metric]
        for name, column in zip("ab", values.T, strict=True)
        if (metric := set_metric("IoU", pd.DataFrame({"IoU": column})))
    }
    replicates = bootstrap(rows)
    gaps = values[:, 0] - values[:, 1]
    assert replicates.shape == (2000, 2)
    assert (replicates["a"] - replicates["b"]).std() == pytest.approx(
        stats.sem(gaps, ddof=0), rel=0.06
    )
    pd.testing.assert_frame_equal(replicates, bootstrap(rows))


def test_an_image_is_a_cluster_over_seeds() -> None:
    """Seeds that agree on every image add nothing: the error is that of one seed."""
    values = np.random.default_rng(3).random(50)
    metric = set_metric("IoU", pd.DataFrame({"IoU": values}))
    assert metric is not None
    replicates = bootstrap({"one": [metric], "three": [metric] * 3})
    assert replicates["one"].to_numpy() == pytest.approx(replicates["three"].to_numpy())


def test_what_is_trained_from_scratch_is_not_in_the_pool(
    tmp_path: Path, make_study: Callable[..., Study], write_run: Callable[..., Path]
) -> None:
    rows = ["scratch", "lora", "mona"]
    study = make_study(tmp_path, methods=rows, networks=["unet"], seeds=[0, 1])
    for name in (*rows, "unet"):
        for seed in study.seeds:
            write_run(study, name, seed)
    found = aggregate(study).comparisons.of("kvasir", "test", "IoU")
    assert {"scratch", "unet"} <= set(found.scores)
    assert found.pooled == ("lora", "mona")


def test_the_mean_of_metrics_is_compared_as_a_metric_of_its_own() -> None:
    rng = np.random.default_rng(0)
    names = ["a", "b", "c"]
    first, second = (rng.normal(60, 2, (3, 3)) for _ in range(2))
    resampled = [pd.DataFrame(rng.normal(60, 1, (50, 3)), columns=names) for _ in range(2)]
    columns = [
        compared(dict(zip(names, values.T.tolist(), strict=True)), metric=metric, replicates=frame)
        for values, metric, frame in zip((first, second), ("IoU", "Dice"), resampled, strict=True)
    ]
    mean = dict(zip(names, ((first + second) / 2).T.tolist(), strict=True))
    expected = compared(mean, replicates=(resampled[0] + resampled[1]) / 2).difference("a", "b")
    found = mean_comparison(columns).difference("a", "b")
    assert found is not None
    assert expected is not None
    assert vars(found) == pytest.approx(vars(expected))
    assert mean_comparison(columns[:1]) is columns[0]


def test_metrics_of_different_directions_have_no_mean() -> None:
    columns = [compared({"a": [60.0], "b": [61.0]}, metric=metric) for metric in ("IoU", "BER")]
    with pytest.raises(ValueError, match="one direction"):
        mean_comparison(columns)
