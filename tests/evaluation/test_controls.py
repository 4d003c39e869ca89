from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from naslora.data.benchmarks.contract import get_benchmark
from naslora.data.manifest import Manifest, read_manifest
from naslora.evaluation import controls
from naslora.evaluation.controls import evaluate_controls
from naslora.study.layout import Layout
from naslora.study.records import read_record
from naslora.study.settings import Study

TASK = "kvasir"


def masks(study: Study, split: str) -> list[np.ndarray]:
    """Masks of a split read with nothing of the package: JPEG, thresholded at 128."""
    layout = Layout.of(study)
    manifest: Manifest = read_manifest(layout.manifest(TASK))
    return [
        np.asarray(Image.open(layout.prepared(TASK) / sample.mask).convert("L")) >= 128
        for sample in manifest.of(split)
    ]


def squeezed(mask: np.ndarray, size: int) -> np.ndarray:
    image = Image.fromarray(mask.astype(np.uint8))
    return np.asarray(image.resize((size, size), Image.Resampling.NEAREST)) > 0


def overlap(found: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    both, either = (found & truth).sum(), (found | truth).sum()
    return float(both / either), float(2 * both / (found.sum() + truth.sum()))


def test_records_of_both_controls(trained_study: Study) -> None:
    layout = Layout.of(trained_study)
    for name in ("control_blank", "control_mean_mask"):
        record = read_record(layout.record(TASK, name, 0))
        assert (record.status, record.training, record.seed) == ("done", None, 0)
        assert (record.variant, record.method) == (name, name)
        rows = pd.read_parquet(layout.per_image(TASK, name, 0))
        assert record.images == {"test": len(rows)} == {"test": len(masks(trained_study, "test"))}
        for metric, value in record.metrics["test"].items():
            assert value == pytest.approx(rows[metric].mean(), rel=1e-12)


def test_the_blank_mask_finds_nothing(trained_study: Study) -> None:
    truths = masks(trained_study, "test")
    assert all(truth.any() for truth in truths)
    metrics = read_record(Layout.of(trained_study).record(TASK, "control_blank", 0)).metrics["test"]
    assert (metrics["IoU"], metrics["Dice"], metrics["weighted_F"]) == (0, 0, 0)
    # S of an all-black map: half of the object part is the background's, and it is perfect.
    assert 0 < metrics["S_measure"] < 1


def test_the_mean_mask_by_hand(trained_study: Study, copied: Callable[..., Study]) -> None:
    study = copied({"evaluation.size": "input"})
    paths = evaluate_controls(study, TASK)
    layout = Layout.of(study)
    assert paths == [layout.record(TASK, f"control_{name}", 0) for name in ("blank", "mean_mask")]
    mean = np.mean([squeezed(mask, 64) for mask in masks(study, "train")], axis=0)
    assert 0 < mean.max() < 1
    values = [overlap(mean > 0.5, squeezed(truth, 64)) for truth in masks(study, "test")]
    metrics = read_record(paths[1]).metrics["test"]
    assert metrics["IoU"] == pytest.approx(np.mean([iou for iou, _ in values]))
    assert metrics["Dice"] == pytest.approx(np.mean([dice for _, dice in values]))


def test_the_mean_mask_at_native_size(trained_study: Study) -> None:
    """Bilinear, from a square back to each image's shape."""
    mean = np.mean([squeezed(mask, 64) for mask in masks(trained_study, "train")], axis=0)
    values = []
    for truth in masks(trained_study, "test"):
        rows, columns = (
            np.clip((np.arange(side) + 0.5) * 64 / side - 0.5, 0, 63) for side in truth.shape
        )
        across = np.stack([np.interp(columns, np.arange(64), line) for line in mean])
        large = np.stack([np.interp(rows, np.arange(64), line) for line in across.T]).T
        values.append(overlap(large > 0.5, truth)[0])
    record = read_record(Layout.of(trained_study).record(TASK, "control_mean_mask", 0))
    assert record.metrics["test"]["IoU"] == pytest.approx(np.mean(values), abs=1e-3)


def test_blank_of_several_classes_is_background() -> None:
    class Three:
        classes = ("background", "things", "stuff")

    blank = controls._blank(Three(), (4, 6))  # type: ignore[arg-type]
    assert (blank.shape, blank.dtype) == ((4, 6), np.uint8)
    assert not blank.any()
    binary = controls._blank(get_benchmark(TASK), (4, 6))
    assert (binary.shape, binary.dtype) == ((4, 6), np.float32)
    assert not binary.any()


def test_maps_of_several_classes_are_resized_and_then_compared() -> None:
    mean = np.random.default_rng(0).random((3, 8, 8), np.float32)
    likeliest = controls._resized(mean, (16, 12))
    each = np.stack([controls._resized(one, (16, 12)) for one in mean])
    np.testing.assert_array_equal(likeliest, each.argmax(axis=0))
    assert likeliest.dtype == np.uint8
    np.testing.assert_array_equal(controls._resized(mean, (8, 8)), mean.argmax(axis=0))
