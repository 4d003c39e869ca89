"""Validation during training: its scores, and the choices that depend on them."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from statistics import fmean
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import confusion_matrix as sklearn_confusion
from sklearn.metrics import jaccard_score

from naslora.core.errors import SettingsError, StoppedError
from naslora.data.benchmarks.contract import get_benchmark
from naslora.data.dataset import SegmentationDataset
from naslora.data.manifest import read_manifest, write_manifest
from naslora.data.masks import IGNORE
from naslora.evaluation.loading import trained_sam
from naslora.sam.mask_decoder import Prediction
from naslora.study.layout import Layout
from naslora.study.records import Receipt, read_receipt
from naslora.study.settings import Study
from naslora.training import fit as fitting
from naslora.training.class_weights import class_weights
from naslora.training.losses import task_loss
from naslora.training.resume.saving import Saver
from naslora.training.train import train
from naslora.training.validation import confusion_matrices

Copy = Callable[..., Study]
RUN = ("kvasir", "lora", 0)
EPOCHS = 4


def adapter(study: Study) -> bytes:
    return Layout.of(study).adapter(*RUN).read_bytes()


def without_seconds(receipt: Receipt) -> list[dict[str, float]]:
    return [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in receipt.history]


def test_the_last_entry_is_what_the_saved_weights_have(trained_study: Study) -> None:
    """Loss and IoU are computed again, from the files, by other code."""
    layout = Layout.of(trained_study)
    receipt = read_receipt(layout.receipt(*RUN))
    sam = trained_sam(trained_study, get_benchmark("kvasir"), "lora", 0, receipt)
    manifest = read_manifest(layout.manifest("kvasir"))
    images = SegmentationDataset(manifest, layout.prepared("kvasir"), "val", 64)
    pairs = [images[index] for index in range(len(images))]
    stacked, labels = (torch.stack([pair[part] for pair in pairs]) for part in (0, 1))
    with torch.inference_mode():
        prediction = sam(stacked)
        loss = task_loss(prediction, labels, 1, trained_study.training)
        masks = torch.nn.functional.interpolate(prediction.masks, (64, 64), mode="bilinear")
    score = fmean(
        jaccard_score(label.flatten(), (mask > 0).flatten())
        for label, mask in zip(labels, masks[:, 0], strict=True)
    )
    assert [set(epoch) >= {"val_loss", "val_score"} for epoch in receipt.history] == [True, True]
    assert receipt.history[-1]["val_loss"] == pytest.approx(float(loss), rel=1e-5)
    assert receipt.history[-1]["val_score"] == pytest.approx(score, rel=1e-6)


def test_pixels_are_counted_as_scikit_learn_does() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (2, 16, 16), generator=generator, dtype=torch.uint8)
    labels[torch.rand(labels.shape, generator=generator) < 0.2] = IGNORE
    scores = torch.randn(2, 3, 16, 16, generator=generator)
    found = confusion_matrices(Prediction(scores, exclusive=True), labels, 3)
    valid = labels != IGNORE
    predicted = scores.argmax(1)
    for one, label, where, mask in zip(found, labels, valid, predicted, strict=True):
        assert one.tolist() == sklearn_confusion(label[where], mask[where]).tolist()
    found = confusion_matrices(Prediction(scores[:, :1]), (labels > 0).to(torch.uint8), 2)
    for one, label, mask in zip(found, labels > 0, scores[:, 0] > 0, strict=True):
        assert one.tolist() == sklearn_confusion(label.flatten(), mask.flatten()).tolist()


def test_validation_changes_no_weight(copied: Copy, trained_study: Study) -> None:
    study = copied({"training.validate_every_n_epochs": 0})
    receipt = train(study, *RUN)
    assert all("val_loss" not in epoch for epoch in receipt.history)
    assert adapter(study) == adapter(trained_study)


def test_every_other_epoch_on_some_of_the_images(copied: Copy, trained_study: Study) -> None:
    changes = {"training.validate_every_n_epochs": 2, "training.validation_images": 2}
    study = copied(changes)
    receipt = train(study, *RUN)
    first, second = receipt.history
    assert "val_score" not in first
    whole = read_receipt(Layout.of(trained_study).receipt(*RUN)).history[1]
    assert second["val_loss"] != whole["val_loss"]
    assert second["loss"] == whole["loss"]


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[float]], None]:
    """Replace validation by given scores."""

    def arrange(scores: list[float]) -> None:
        def validate(*_: Any) -> dict[str, float]:
            seen.append(1)
            return {"val_loss": 1.0, "val_score": scores[len(seen) - 1]}

        seen: list[int] = []
        monkeypatch.setattr(fitting, "validate", validate)

    return arrange


def test_the_best_epoch_is_kept(copied: Copy, scored: Any) -> None:
    scored([0.1, 0.4, 0.4, 0.3])
    constant = {"training.decay_start": 1.0}  # or the longer training would begin otherwise
    best = {"training.epochs": EPOCHS, "training.select": "best"}
    study = copied({**constant, **best}, folder="best")
    receipt = train(study, *RUN)
    assert receipt.selected_epoch == 2
    assert len(receipt.history) == EPOCHS
    shorter = copied({**constant, "training.epochs": 2}, folder="shorter")
    scored([0.0, 0.0])
    assert train(shorter, *RUN).selected_epoch is None
    mine, other = (load_file(Layout.of(s).adapter(*RUN)) for s in (study, shorter))
    assert all(torch.equal(mine[name], other[name]) for name in other)


def test_training_stops_early(copied: Copy, scored: Any, capsys: Any) -> None:
    scored([0.3, 0.4, 0.2, 0.4, 0.1, 0.5])
    study = copied({"training.epochs": 6, "training.patience": 2})
    receipt = train(study, *RUN)
    assert [epoch["val_score"] for epoch in receipt.history] == [0.3, 0.4, 0.2, 0.4]
    assert receipt.selected_epoch is None
    assert "stopped early: epoch 2 has the best validation score" in capsys.readouterr().out


@pytest.mark.parametrize("step", [5, 7, 10, 14, 15])
def test_a_stop_changes_neither_the_choice_nor_the_end(
    copied: Copy, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Scores are a function of the epoch; the run is stopped within epochs and at their ends."""
    scores = [0.3, 0.5, 0.4, 0.2, 0.6]

    def validate(fabric: Any, learner: Any, loader: Any) -> dict[str, float]:
        return {"val_loss": 1.0, "val_score": scores[epoch[0] - 1]}

    epoch = [1]
    original = Saver.after_step

    def after_step(self: Saver, progress: Any, *rest: Any) -> None:
        epoch[0] = progress.epoch
        if stop_at and progress.steps == stop_at[0]:
            stop_at.clear()
            signal.raise_signal(signal.SIGTERM)
        original(self, progress, *rest)

    monkeypatch.setattr(fitting, "validate", validate)
    monkeypatch.setattr(Saver, "after_step", after_step)
    changes = {"training.epochs": 5, "training.select": "best", "training.patience": 2}
    stop_at: list[int] = []
    straight = copied(changes, folder="straight")
    expected = train(straight, *RUN)
    assert (expected.selected_epoch, len(expected.history)) == (2, 4)
    stop_at.append(step)
    study = copied(changes, folder="stopped")
    with pytest.raises(StoppedError):
        train(study, *RUN)
    receipt = train(study, *RUN)
    assert adapter(study) == adapter(straight)
    assert without_seconds(receipt) == without_seconds(expected)
    assert receipt.selected_epoch == 2


@pytest.mark.parametrize(
    "changes",
    [{"training.select": "best"}, {"training.patience": 3}],
)
def test_without_validation_images_nothing_can_be_chosen(
    copied: Copy, changes: dict[str, Any]
) -> None:
    study = copied(changes)
    path = Layout.of(study).manifest("kvasir")
    manifest = read_manifest(path)
    samples = [
        s.model_copy(update={"split": "train"}) if s.split == "val" else s for s in manifest.samples
    ]
    write_manifest(path, manifest.model_copy(update={"samples": samples}))
    with pytest.raises(SettingsError, match="but kvasir has no validation images"):
        train(study, *RUN)
    settings = study.training.model_copy(update={"select": "last", "patience": None})
    receipt = train(study.model_copy(update={"training": settings}), *RUN)
    assert all("val_loss" not in epoch for epoch in receipt.history)


def test_settings_that_contradict_each_other(copied: Copy) -> None:
    with pytest.raises(SettingsError, match="need validate_every_n_epochs above 0"):
        copied({"training.select": "best", "training.validate_every_n_epochs": 0})


def test_classes_are_weighted(copied: Copy, trained_study: Study) -> None:
    """Balanced weights equal listed ones that are computed from the share of foreground."""
    balanced = copied({"training.class_weights": "balanced"}, folder="balanced")
    layout = Layout.of(balanced)
    manifest = read_manifest(layout.manifest("kvasir"))
    images = SegmentationDataset(manifest, layout.prepared("kvasir"), "train", 64)
    share = float(torch.stack([images[i][1] for i in range(len(images))]).float().mean())
    receipt = train(balanced, *RUN)
    listed = copied({"training.class_weights": [0.5 / (1 - share), 0.5 / share]}, folder="listed")
    same = train(listed, *RUN)
    for mine, theirs in zip(receipt.history, same.history, strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
    assert adapter(balanced) != adapter(trained_study)
    with pytest.raises(SettingsError, match="lists 3 weights; this task needs 2"):
        train(copied({"training.class_weights": [1, 1, 1]}, folder="three"), *RUN)


def test_weights_that_leave_no_loss_are_refused(prepared_study: Study, copied: Copy) -> None:
    with pytest.raises(SettingsError, match="at least one weight above 0"):
        copied({"training.class_weights": [0, 0]})
    images: Any = None  # listed weights do not depend on them
    training = prepared_study.training.model_copy(
        update={"class_weights": [0, 1, 1], "no_object_weight": 0}
    )
    with pytest.raises(SettingsError, match=r"no_object_weight .* are both 0") as caught:
        class_weights(training, images, 3)
    assert caught.value.remedy
    some = training.model_copy(update={"no_object_weight": 0.1})
    assert class_weights(some, images, 3) is not None
    binary = training.model_copy(update={"class_weights": [0, 1]})
    assert class_weights(binary, images, 1) is not None


def test_the_record_has_the_settings(copied: Copy, trained_study: Study) -> None:
    receipt = json.loads(Layout.of(trained_study).receipt(*RUN).read_text())
    assert receipt["selected_epoch"] is None
    assert receipt["settings"]["training"]["select"] == "last"
