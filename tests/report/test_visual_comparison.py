from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from naslora.data.benchmark import get_benchmark
from naslora.data.manifest import read_manifest
from naslora.errors import DivergedError, RecordError
from naslora.evaluation.evaluate import evaluate, predictions, trained_sam
from naslora.layout import Layout
from naslora.records import read_receipt
from naslora.report import visual_comparison
from naslora.report.visual_comparison import draw_visual_comparison
from naslora.settings import Study
from naslora.training.loop import train

Copy = Callable[..., Study]
TASK = "kvasir"


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What would be drawn."""
    seen: dict[str, Any] = {}
    names = ("images", "truths", "predictions", "titles", "path", "caption")
    monkeypatch.setattr(
        visual_comparison,
        "draw_outlines",
        lambda *values: seen.update(zip(names, values, strict=True)),
    )
    return seen


def test_a_picture_is_written(trained_study: Study, copied: Copy) -> None:
    study = copied(of=trained_study)
    path = Layout.of(study).figure("outlines")
    draw_visual_comparison(study, path)
    before = path.read_bytes()
    assert before.startswith(b"\x89PNG")
    draw_visual_comparison(study, path)
    assert path.read_bytes() == before


def test_images_are_chosen_by_the_reference_and_predicted_by_all(
    trained_study: Study, drawn: dict[str, Any], copied: Copy
) -> None:
    study = copied(of=trained_study)
    layout = Layout.of(study)
    draw_visual_comparison(study, layout.figure("outlines"))
    rows = pd.read_parquet(layout.per_image(TASK, study.methods[-1], 0))
    ranked = rows.sort_values(["IoU", "id"], ascending=[False, True])["id"].tolist()
    manifest = read_manifest(layout.manifest(TASK))
    ids = [sample.id for sample in manifest.of("test")]
    assert drawn["titles"] == ["best", "worst"]  # of two test images
    assert list(drawn["predictions"]) == ["LoRA", "NAS-LoRA"]
    for title, method in (("LoRA", "lora"), ("NAS-LoRA", "nas_lora")):
        receipt = read_receipt(layout.receipt(TASK, method, 0))
        sam = trained_sam(study, get_benchmark(TASK), method, 0, receipt)
        expected = dict(zip(ids, predictions(study, manifest, "test", sam), strict=True))
        iou = pd.read_parquet(layout.per_image(TASK, method, 0)).set_index("id")["IoU"]
        for row, probability in enumerate(drawn["predictions"][title]):
            name = ranked[row]
            np.testing.assert_allclose(probability, expected[name], atol=1e-5)
            assert drawn["images"][row].shape == (*probability.shape, 3)
            truth, found = drawn["truths"][row] > 0, probability > 0.5
            value = (truth & found).sum() / (truth | found).sum()
            assert iou[name] == pytest.approx(value, abs=0.02)
    assert "IoU of NAS-LoRA" in drawn["caption"]
    assert "of 2 test images" in drawn["caption"]


def test_a_run_that_diverged_is_left_out(
    trained_study: Study, drawn: dict[str, Any], copied: Copy
) -> None:
    study = copied(
        {"variants": {}, "method_settings": {}, "training.learning_rate": 1e30}, of=trained_study
    )
    with pytest.raises(DivergedError):
        train(study, TASK, "lora", 0)
    evaluate(study, TASK, "lora", 0)
    draw_visual_comparison(study, Layout.of(study).figure("outlines"))
    assert list(drawn["predictions"]) == ["NAS-LoRA"]


def test_a_reference_that_diverged(trained_study: Study, copied: Copy) -> None:
    study = copied({"training.learning_rate": 1e30}, of=trained_study)
    with pytest.raises(DivergedError):
        train(study, TASK, "nas_lora", 0)
    evaluate(study, TASK, "nas_lora", 0)
    path = Layout.of(study).figure("outlines")
    with pytest.raises(RecordError, match="is diverged, not done"):
        draw_visual_comparison(study, path)
    assert not path.exists()


def test_a_missing_run(trained_study: Study, copied: Copy) -> None:
    study = copied(of=trained_study)
    Layout.of(study).record(TASK, "lora", 0).unlink()
    with pytest.raises(RecordError, match="record not found"):
        draw_visual_comparison(study, Layout.of(study).figure("outlines"))
