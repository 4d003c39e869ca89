"""Several classes end to end: every method trains, is evaluated and beats the blank mask."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from naslora.core.errors import SettingsError
from naslora.data.benchmarks.contract import get_benchmark
from naslora.data.manifest import read_manifest
from naslora.data.prepare import prepare
from naslora.evaluation import evaluate as evaluation
from naslora.evaluation import predictions as predicting
from naslora.evaluation.controls import evaluate_controls
from naslora.evaluation.evaluate import evaluate
from naslora.evaluation.loading import trained_sam
from naslora.evaluation.multiclass import MultiClassMetrics
from naslora.evaluation.predictions import predictions
from naslora.evaluation.predictions import test_images as images_of
from naslora.report.figures.gallery import draw_gallery
from naslora.report.figures.inputs import Inputs
from naslora.results.aggregate import aggregate
from naslora.sam.inference import semantic_probabilities
from naslora.study.layout import Layout
from naslora.study.records import read_receipt, read_record
from naslora.study.settings import Study, load_study
from naslora.training.initial import initial_sam
from naslora.training.train import train

CONFIG = Path(__file__).parents[2] / "config"
METHODS = load_study("rehearsal", config=CONFIG).methods
V1, V2 = "trans10k_v1", "trans10k_v2"
MakeStudy = Callable[..., Study]


@pytest.fixture(scope="module")
def make_study(prepared_study: Study, tmp_path_factory: pytest.TempPathFactory) -> MakeStudy:
    """Studies of both tasks in one folder, on the session's backbone."""
    results = tmp_path_factory.mktemp("multiclass")
    backbone = Layout.of(prepared_study).backbone()

    def make(**changes: Any) -> Study:
        settings = {
            "tasks": [V1, V2],
            "generated": {V1: 60, V2: 24},
            "methods": METHODS,
            "seeds": [0],
            "sam": {"image_size": 64, "checkpoint": "pretrained"},
            "pretraining": prepared_study.pretraining.model_dump(),
            "results": str(results),
            "training": {"epochs": 2, "architecture": {"start_epoch": 1}},
        }
        return load_study("rehearsal", {**settings, **changes}, CONFIG)

    study = make()
    Layout.of(study).backbone().parent.mkdir(parents=True)
    shutil.copy(backbone, Layout.of(study).backbone())
    for task in (V1, V2):
        prepare(study, task, CONFIG)
        evaluate_controls(study, task)
    return make


@pytest.fixture(scope="module")
def learnt(make_study: MakeStudy) -> Study:
    """A study whose decoder-only run on three classes is long enough to learn something."""
    study = make_study(methods=["decoder_only"], training={"epochs": 10})
    train(study, V1, "decoder_only", 0)
    evaluate(study, V1, "decoder_only", 0)
    return study


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_and_is_evaluated(method: str, make_study: MakeStudy) -> None:
    study = make_study()
    layout = Layout.of(study)
    receipt = train(study, V2, method, 0)
    losses = [epoch["loss"] for epoch in receipt.history]
    assert losses[-1] < losses[0]
    record = evaluate(study, V2, method, 0)
    assert (record.status, record.images) == (
        "done",
        {"test": len(_manifest(layout, V2).of("test"))},
    )
    metrics = get_benchmark(V2).metrics
    assert {"Acc", "mIoU", "mIoU_foreground"} <= set(record.metrics["test"]) <= set(metrics)
    rows = pd.read_parquet(layout.per_image(V2, method, 0))
    right, missed = (
        rows[[f"{kind}_{name}" for name in get_benchmark(V2).classes]].to_numpy().sum()
        for kind in ("true_positives", "false_negatives")
    )
    assert record.metrics["test"]["Acc"] == pytest.approx(right / (right + missed), abs=1e-12)


def test_one_mask_token_for_several_classes_is_refused(make_study: MakeStudy) -> None:
    study = make_study(sam={"image_size": 64, "mask_tokens": 1})
    with pytest.raises(SettingsError, match=r"sam\.mask_tokens is 1"):
        initial_sam(study, classes=3, seed=0)
    assert initial_sam(study, classes=1, seed=0)[0].classes == 1


def test_learning_beats_both_controls(learnt: Study) -> None:
    layout = Layout.of(learnt)
    assert _losses(layout)[-1] < 0.6 * _losses(layout)[0]
    scores = {
        name: read_record(layout.record(V1, name, 0)).metrics
        for name in ("decoder_only", "control_blank", "control_mean_mask")
    }
    assert set(scores["decoder_only"]) == {"easy", "hard"}
    means = {
        name: np.mean([metrics["mIoU_foreground"] for metrics in sets.values()])
        for name, sets in scores.items()
    }
    assert means["control_blank"] == 0
    assert means["decoder_only"] > means["control_mean_mask"] + 0.02


def test_the_blank_mask_scores_on_background_alone(make_study: MakeStudy) -> None:
    layout = Layout.of(make_study())
    for task in (V1, V2):
        manifest = _manifest(layout, task)
        record = read_record(layout.record(task, "control_blank", 0))
        for test_set, metrics in record.metrics.items():
            masks = [
                get_benchmark(task).read_mask(layout.prepared(task) / sample.mask)
                for sample in manifest.of(test_set)
            ]
            background = sum((m == 0).sum() for m in masks) / sum(m.size for m in masks)
            assert metrics["Acc"] == pytest.approx(background)
            assert metrics["IoU_background"] == pytest.approx(background)
            assert metrics["mIoU_foreground"] == 0
            if task == V1:
                assert metrics["MAE"] == pytest.approx(np.mean([m.mean() for m in masks]))
                assert metrics["Acc_foreground"] == 0
                assert metrics["mBER"] >= 50


def test_a_record_has_the_iou_of_the_classes_that_are_there(make_study: MakeStudy) -> None:
    layout, benchmark = Layout.of(make_study()), get_benchmark(V2)
    masks = [
        benchmark.read_mask(layout.prepared(V2) / sample.mask)
        for sample in _manifest(layout, V2).of("test")
    ]
    present = {f"IoU_{benchmark.classes[number]}" for mask in masks for number in np.unique(mask)}
    metrics = read_record(layout.record(V2, "control_blank", 0)).metrics["test"]
    assert {name for name in metrics if name.startswith("IoU_")} == present


def test_predictions_are_class_numbers_at_native_size(learnt: Study) -> None:
    """The class with the highest score, computed here from the maps of the model's tokens."""
    layout = Layout.of(learnt)
    manifest = _manifest(layout, V1)
    images = images_of(learnt, manifest, "hard")
    sam = _sam(learnt)
    together = list(predictions(learnt, manifest, "hard", sam))
    assert len(together) == len(images)
    for index, numbers in enumerate(together):
        assert numbers.dtype == np.uint8
        assert numbers.shape == images.native_mask(index).shape
        with torch.inference_mode():
            alone = sam(images[index][0][None])
            maps = semantic_probabilities(alone, numbers.shape)[0].numpy()
        # A batch changes the last bits of a score, and so at most the class of a few pixels.
        assert (maps.argmax(axis=0) == numbers).mean() > 0.999


def test_metrics_are_of_any_batch_size_and_order(
    learnt: Study, make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same maps in other batches give the same metrics, bit for bit."""
    layout = Layout.of(learnt)
    before = read_record(layout.record(V1, "decoder_only", 0))
    maps = {
        test_set: list(predictions(learnt, _manifest(layout, V1), test_set, _sam(learnt)))
        for test_set in ("easy", "hard")
    }
    monkeypatch.setattr(evaluation, "predictions", lambda s, m, test_set, sam: iter(maps[test_set]))
    evaluation_settings = {"size": "native", "batch_size": 3}
    study = learnt.model_copy(
        update={"evaluation": learnt.evaluation.model_copy(update=evaluation_settings)}
    )
    assert evaluate(study, V1, "decoder_only", 0).metrics == before.metrics


def test_scores_that_are_not_finite_make_a_diverged_record(
    learnt: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(learnt.results, tmp_path / "copy")
    study = learnt.model_copy(update={"results": tmp_path / "copy"})
    monkeypatch.setattr(
        predicting,
        "semantic_probabilities",
        lambda prediction, size: semantic_probabilities(prediction, size) * float("nan"),
    )
    record = evaluate(study, V1, "decoder_only", 0)
    assert (record.status, record.metrics) == ("diverged", {})
    assert "not finite" in (record.message or "")


def test_the_picture_is_drawn(learnt: Study, tmp_path: Path) -> None:
    inputs = Inputs(learnt, aggregate(learnt))
    assert inputs.records.status(V1, "decoder_only", 0) == "done"
    draw_gallery(inputs, tmp_path / "maps.png", V1)
    assert (tmp_path / "maps.png").read_bytes().startswith(b"\x89PNG")
    found = inputs.images(V1)
    assert found is not None
    metric = MultiClassMetrics(found.choice.benchmark.classes, ["mIoU_foreground"])
    predicted = found.predicted["decoder_only"]["best"]
    score = metric.update(predicted, found.truths["best"])["mIoU_foreground"]
    assert found.note("best", "decoder_only") == f"{100 * score:.1f}", "as in the table"


def _manifest(layout: Layout, task: str) -> Any:
    return read_manifest(layout.manifest(task))


def _losses(layout: Layout) -> list[float]:
    history = read_receipt(layout.receipt(V1, "decoder_only", 0)).history
    return [epoch["loss"] for epoch in history]


def _sam(study: Study) -> Any:
    receipt = read_receipt(Layout.of(study).receipt(V1, "decoder_only", 0))
    return trained_sam(study, get_benchmark(V1), "decoder_only", 0, receipt)
