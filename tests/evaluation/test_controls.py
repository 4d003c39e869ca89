from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from naslora.data.manifest import Manifest, read_manifest
from naslora.evaluation import controls
from naslora.evaluation.controls import evaluate_controls
from naslora.study.layout import Layout
from naslora.study.records import CONTROLS, read_record
from naslora.study.settings import Study

TASK = "kvasir"


def all_of(masks: np.ndarray) -> np.ndarray:
    """How often each pixel counts where none is void."""
    return np.full(masks.shape[1:], len(masks))


def masks(study: Study, split: str) -> list[np.ndarray]:
    """Masks of a split, read without the package's code: JPEG, thresholded at 128."""
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
    intersection, union = (found & truth).sum(), (found | truth).sum()
    return float(intersection / union), float(2 * intersection / (found.sum() + truth.sum()))


def test_records_of_all_controls(trained_study: Study) -> None:
    layout = Layout.of(trained_study)
    for name in CONTROLS:
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


def test_everything_is_foreground(trained_study: Study) -> None:
    shares = [truth.mean() for truth in masks(trained_study, "test")]
    record = read_record(Layout.of(trained_study).record(TASK, "control_foreground", 0))
    assert record.metrics["test"]["IoU"] == pytest.approx(np.mean(shares))


def test_the_mean_mask_by_hand(trained_study: Study, copied: Callable[..., Study]) -> None:
    study = copied({"evaluation.size": "input"})
    paths = evaluate_controls(study, TASK)
    layout = Layout.of(study)
    assert paths == [layout.record(TASK, name, 0) for name in CONTROLS]
    mean = np.mean([squeezed(mask, 64) for mask in masks(study, "train")], axis=0)
    assert 0 < mean.max() < 1
    values = [overlap(mean > 0.5, squeezed(truth, 64)) for truth in masks(study, "test")]
    metrics = read_record(paths[2]).metrics["test"]
    assert metrics["IoU"] == pytest.approx(np.mean([iou for iou, _ in values]))
    assert metrics["Dice"] == pytest.approx(np.mean([dice for _, dice in values]))


def test_the_best_threshold_by_hand(trained_study: Study, copied: Callable[..., Study]) -> None:
    study = copied({"evaluation.size": "input"})
    record = read_record(evaluate_controls(study, TASK)[3])
    seen = [squeezed(mask, 64) for mask in masks(study, "train")]
    mean = np.mean(seen, axis=0)

    def iou(threshold: float, truths: list[np.ndarray]) -> float:
        return float(np.mean([overlap(mean > threshold, truth)[0] for truth in truths]))

    best = max(np.arange(1, 100) / 100, key=lambda threshold: iou(threshold, seen))
    assert record.message == f"threshold {best:g}, the best on the training masks"
    truths = [squeezed(truth, 64) for truth in masks(study, "test")]
    assert record.metrics["test"]["IoU"] == pytest.approx(iou(best, truths))
    assert iou(best, seen) > iou(0.5, seen)


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


def test_the_least_balanced_error_by_hand() -> None:
    rng = np.random.default_rng(0)
    seen = rng.random((20, 9, 9)) < rng.random((9, 9))
    found = controls.least_ber_threshold(seen.mean(0).astype(np.float32), all_of(seen))

    def ber(threshold: float) -> float:
        chosen = np.broadcast_to(seen.mean(0).astype(np.float32) > threshold, seen.shape)
        return 1 - chosen[seen].mean() + chosen[~seen].mean()

    assert ber(found) == pytest.approx(min(map(ber, controls.THRESHOLDS)))


def test_controls_of_several_classes_by_hand() -> None:
    """The chances of the classes, and so the most frequent one, differ from pixel to pixel."""
    rng = np.random.default_rng(1)
    chances = rng.dirichlet([1.5, 1, 1, 0.3], (6, 6))
    seen = (chances.cumsum(-1)[None] < rng.random((40, 6, 6, 1))).sum(-1)
    mean = np.stack([(seen == index).mean(0) for index in range(4)]).astype(np.float32)

    def miou(predicted: np.ndarray) -> float:
        predicted = np.broadcast_to(predicted, seen.shape)
        return float(
            np.mean([overlap(predicted == index, seen == index)[0] for index in (1, 2, 3)])
        )

    threshold = controls.best_miou_threshold(mean, all_of(seen))
    found = {
        name: predict((6, 6))
        for name, predict in controls.multiclass_controls(mean, all_of(seen), threshold).items()
    }
    assert tuple(found) == tuple(CONTROLS)
    assert all(one.dtype == np.uint8 for one in found.values())
    assert not found["control_blank"].any()
    assert (found["control_foreground"] == np.bincount(seen.ravel())[1:].argmax() + 1).all()
    np.testing.assert_array_equal(found["control_mean_mask"], mean.argmax(0))
    commonest = 1 + mean[1:].argmax(0)
    cuts = [np.where(1 - mean[0] > t, commonest, 0) for t in controls.THRESHOLDS]
    assert miou(found["control_mean_mask_best"]) == pytest.approx(max(map(miou, cuts)), abs=1e-6)


def test_maps_of_several_classes_are_resized_and_then_compared() -> None:
    mean = np.random.default_rng(0).random((3, 8, 8), np.float32)
    predict = controls.multiclass_controls(mean, np.ones((8, 8), int), 0.5)["control_mean_mask"]
    each = np.stack([controls._resized(one[None], (16, 12))[0] for one in mean])
    np.testing.assert_array_equal(predict((16, 12)), each.argmax(axis=0))
    np.testing.assert_array_equal(predict((8, 8)), mean.argmax(axis=0))


def test_binary_controls_are_probabilities_of_any_size() -> None:
    mean = np.full((8, 8), 0.25, np.float32)
    made = controls.binary_controls(mean, 0.2)
    assert tuple(made) == tuple(CONTROLS)
    values = [float(predict((4, 6)).mean()) for predict in made.values()]
    assert values == [0, 1, 0.25, 1]
    assert {predict((4, 6)).shape for predict in made.values()} == {(4, 6)}
    assert {predict((4, 6)).dtype for predict in made.values()} == {np.dtype(np.float32)}


def test_a_threshold_cuts_as_it_was_chosen() -> None:
    """0.3 in float32 is above 0.3 in float64, in which thresholds are chosen."""
    mean = np.array([[0.3, 0.295]], np.float32)
    threshold = controls.best_iou_threshold(mean, [np.array([[1, 0]], np.uint8)])
    control = controls.binary_controls(mean, threshold)["control_mean_mask_best"]
    assert np.array_equal(control((1, 2)), [[1, 0]])
