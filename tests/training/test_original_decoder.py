"""A study that keeps Meta's mask decoder: trained, evaluated, and prompted by Meta's predictor."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor

from naslora.core.errors import SettingsError
from naslora.data.manifest import read_manifest
from naslora.evaluation.evaluate import evaluate
from naslora.evaluation.predictions import predictions
from naslora.methods.state import load_adapted_sam
from naslora.study.layout import Layout
from naslora.study.settings import Study
from naslora.training.initial import initial_sam
from naslora.training.train import train


def test_it_is_trained_evaluated_and_prompted(copied: Callable[..., Study]) -> None:
    study = copied(
        {
            "methods": ["lora"],
            "sam": {"decoder": "original", "checkpoint": "pretrained"},
            "training": {"epochs": 4},
        }
    )
    receipt = train(study, "kvasir", "lora", 0)
    assert receipt.history[-1]["loss"] < receipt.history[0]["loss"]
    record = evaluate(study, "kvasir", "lora", 0)
    assert record.status == "done"

    layout = Layout.of(study)
    sam = load_adapted_sam(layout.adapter("kvasir", "lora", 0), layout.backbone())
    predictor = SamPredictor(sam)
    side = study.sam.image_size
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    predictor.set_image(image)
    masks, quality, low = predictor.predict(
        point_coords=np.array([[side / 2, side / 2]]), point_labels=np.array([1])
    )
    assert masks.shape == (3, side, side)
    assert np.isfinite(quality).all()
    # Without a prompt, Meta's predictor gives what this project's prediction is made from.
    _, _, low = predictor.predict(multimask_output=False)
    with torch.no_grad():
        ours = sam(torch.from_numpy(image.transpose(2, 0, 1).copy())[None]).masks[0, :1]
    np.testing.assert_allclose(low, ours.numpy(), rtol=1e-3, atol=1e-4)
    manifest = read_manifest(layout.manifest("kvasir"))
    first = next(predictions(study, manifest, "test", sam))
    assert 0 <= first.min() <= first.max() <= 1


def test_it_has_no_classes(copied: Callable[..., Study]) -> None:
    study = copied({"sam": {"decoder": "original", "checkpoint": "pretrained"}})
    with pytest.raises(SettingsError, match="original, which has no classes"):
        initial_sam(study, classes=3, seed=0)
