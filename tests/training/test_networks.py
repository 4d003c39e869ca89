"""Runs of networks other than SAM work like all other runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from naslora.evaluation.evaluate import evaluate
from naslora.evaluation.predict import predict_files
from naslora.methods.state import load_adapted_sam
from naslora.study.layout import Layout
from naslora.study.records import read_record
from naslora.study.settings import Study
from naslora.training.train import train


def test_a_network_is_trained_evaluated_and_predicts(copied: Callable[..., Study]) -> None:
    study = copied({"networks": ["unet"], "training": {"epochs": 6, "learning_rate": 3e-3}})
    assert "unet" in study.run_names("kvasir")
    receipt = train(study, "kvasir", "unet", 0)
    losses = [epoch["loss"] for epoch in receipt.history]
    assert losses[-1] < losses[0]
    assert receipt.checkpoint_sha256 is None
    assert 0.4e6 < receipt.trainable_parameters < 0.5e6
    evaluate(study, "kvasir", "unet", 0)
    layout = Layout.of(study)
    record = read_record(layout.record("kvasir", "unet", 0))
    assert (record.status, record.title) == ("done", "U-Net (scratch)")
    assert record.metrics["test"]["IoU"] > 0

    sam = load_adapted_sam(layout.adapter("kvasir", "unet", 0))
    images = sorted((layout.prepared("kvasir")).rglob("images/*.jpg"))[:2]
    masks = predict_files(sam, images, study.results / "masks")
    assert [mask.is_file() for mask in masks] == [True, True]


def test_two_rows_have_two_names(copied: Callable[..., Study]) -> None:
    with pytest.raises(Exception, match="two rows with one name: unet"):
        copied({"networks": ["unet"], "variants": {"unet": {"method": "lora"}}})
