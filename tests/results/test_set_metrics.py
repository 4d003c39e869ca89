"""Metrics of a test set from its per-image rows are those that the evaluation computes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from naslora.evaluation.binary import BINARY_METRICS, BinaryMetrics
from naslora.evaluation.multiclass import MultiClassMetrics, multiclass_metrics
from naslora.results.set_metrics import set_metric

CLASSES = ("background", "jar", "window", "cup")
BINARY = tuple(name for name in BINARY_METRICS if name != "E_measure_max")


def binary_images(rng: np.random.Generator, count: int) -> list[tuple[NDArray, NDArray]]:
    shape = (9, 7)
    return [
        (rng.random(shape).astype(np.float32), (rng.random(shape) < 0.3).astype(np.uint8))
        for _ in range(count)
    ]


def class_images(rng: np.random.Generator, count: int) -> list[tuple[NDArray, NDArray]]:
    """Every image lacks some classes, and the second one has no foreground at all."""
    pairs = []
    for index in range(count):
        present = rng.choice(len(CLASSES), size=2, replace=False) if index != 1 else [0, 0]
        pairs.append((rng.integers(0, 4, (8, 6)), rng.choice(present, (8, 6))))
    return pairs


def evaluated(
    metrics: BinaryMetrics | MultiClassMetrics, images: Sequence[tuple[NDArray, NDArray]]
) -> pd.DataFrame:
    return pd.DataFrame([metrics.update(*image) for image in images])


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_binary_metrics_are_those_of_the_evaluation(seed: int, count: int) -> None:
    metrics = BinaryMetrics()
    rows = evaluated(metrics, binary_images(np.random.default_rng(seed), count))
    expected = metrics.compute()
    for name in BINARY:
        found = set_metric(name, rows)
        assert found is not None
        assert found.value() == pytest.approx(expected[name], abs=1e-12), name


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_metrics_of_classes_are_those_of_the_evaluation(seed: int, count: int) -> None:
    metrics = MultiClassMetrics(CLASSES)
    rows = evaluated(metrics, class_images(np.random.default_rng(seed), count))
    expected = metrics.compute()
    for name in multiclass_metrics(CLASSES):
        found = set_metric(name, rows)
        assert found is not None
        if name in expected:
            assert found.value() == pytest.approx(expected[name], abs=1e-12), name
        else:
            assert np.isnan(found.value())


@pytest.mark.parametrize("kind", ["binary", "classes"])
def test_a_resampled_set_is_evaluated_like_one_of_these_images(kind: str) -> None:
    rng = np.random.default_rng(5)
    images = binary_images(rng, 5) if kind == "binary" else class_images(rng, 5)
    drawn = [0, 0, 2, 3, 3]

    def fresh() -> BinaryMetrics | MultiClassMetrics:
        return BinaryMetrics(BINARY) if kind == "binary" else MultiClassMetrics(CLASSES)

    rows, again = evaluated(fresh(), images), fresh()
    evaluated(again, [images[index] for index in drawn])
    weights = np.bincount(drawn, minlength=5)[None].astype(float)
    for name, expected in again.compute().items():
        found = set_metric(name, rows)
        assert found is not None
        assert found.weighted(weights)[0] == pytest.approx(expected, abs=1e-12), name


def test_an_image_without_a_value_does_not_count() -> None:
    found = set_metric("S_measure", pd.DataFrame({"S_measure": [0.2, np.nan, 0.6]}))
    assert found is not None
    assert found.value() == pytest.approx(0.4)
    assert found.weighted(np.array([[0.0, 5.0, 1.0], [0.0, 1.0, 0.0]]))[0] == pytest.approx(0.6)


@pytest.mark.parametrize("name", ["E_measure_max", "Dice", "BER"])
def test_what_rows_do_not_determine_is_none(name: str) -> None:
    assert set_metric(name, pd.DataFrame({"E_measure_max": [0.5], "IoU": [0.5]})) is None
