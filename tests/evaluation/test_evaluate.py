from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from naslora.core.errors import RecordError, SettingsError
from naslora.core.files import sha256
from naslora.data.benchmarks.contract import get_benchmark
from naslora.data.manifest import read_manifest
from naslora.evaluation import evaluate as module
from naslora.evaluation.evaluate import evaluate
from naslora.evaluation.loading import evaluation_device, trained_sam
from naslora.evaluation.predictions import predictions
from naslora.evaluation.predictions import test_images as images_of
from naslora.sam.building import Sam
from naslora.study.layout import Layout
from naslora.study.records import read_receipt, read_record
from naslora.study.settings import Study

Copy = Callable[..., Study]
TASK, VARIANT = "kvasir", "nas_lora"


def predicted(study: Study) -> list[np.ndarray]:
    layout = Layout.of(study)
    receipt = read_receipt(layout.receipt(TASK, VARIANT, 0))
    sam = trained_sam(study, get_benchmark(TASK), VARIANT, 0, receipt)
    return list(predictions(study, read_manifest(layout.manifest(TASK)), "test", sam))


def test_the_record_agrees_with_the_images(trained_study: Study) -> None:
    layout = Layout.of(trained_study)
    record = read_record(layout.record(TASK, VARIANT, 0))
    rows = pd.read_parquet(layout.per_image(TASK, VARIANT, 0))
    expected = [sample.id for sample in read_manifest(layout.manifest(TASK)).of("test")]
    assert rows["id"].tolist() == expected
    assert set(rows["test_set"]) == {"test"}
    assert record.images == {"test": len(expected)}
    assert tuple(record.metrics["test"]) == tuple(sorted(get_benchmark(TASK).metrics))
    for name, value in record.metrics["test"].items():
        assert value == pytest.approx(rows[name].mean(), rel=1e-12)


def test_metrics_are_of_the_runs_predictions_at_native_size(trained_study: Study) -> None:
    layout = Layout.of(trained_study)
    images = images_of(trained_study, read_manifest(layout.manifest(TASK)), "test")
    overlaps = []
    for index, probability in enumerate(predicted(trained_study)):
        truth = images.native_mask(index) > 0
        assert probability.shape == truth.shape
        assert probability.dtype == np.float32
        found = probability > 0.5
        overlaps.append((found & truth).sum() / (found | truth).sum())
    record = read_record(layout.record(TASK, VARIANT, 0))
    assert record.metrics["test"]["IoU"] == pytest.approx(np.mean(overlaps))


def test_the_record_says_what_was_evaluated(trained_study: Study) -> None:
    layout = Layout.of(trained_study)
    record = read_record(layout.record(TASK, VARIANT, 0))
    assert record.training == read_receipt(layout.receipt(TASK, VARIANT, 0))
    assert record.manifest_sha256 == sha256(layout.manifest(TASK))
    assert record.evaluation == {"size": "native", "batch_size": 4}
    assert (record.task, record.variant, record.method, record.seed) == (TASK, VARIANT, VARIANT, 0)
    assert record.title == "NAS-LoRA"


def test_evaluating_again_gives_the_same(trained_study: Study, copied: Copy) -> None:
    study = copied(of=trained_study)
    before, layout = read_record(Layout.of(study).record(TASK, VARIANT, 0)), Layout.of(study)
    layout.per_image(TASK, VARIANT, 0).unlink()
    torch.rand(3)
    after = evaluate(study, TASK, VARIANT, 0)
    assert (after.metrics, after.per_image) == (before.metrics, before.per_image)


def test_at_the_input_size(trained_study: Study, copied: Copy) -> None:
    study = copied({"evaluation.size": "input"}, of=trained_study)
    assert {probability.shape for probability in predicted(study)} == {(64, 64)}
    native = read_record(Layout.of(study).record(TASK, VARIANT, 0))
    record = evaluate(study, TASK, VARIANT, 0)
    assert record.evaluation["size"] == "input"
    assert record.metrics != native.metrics


def test_the_batch_size_changes_only_the_last_bits(trained_study: Study, copied: Copy) -> None:
    study = copied({"evaluation.batch_size": 1}, of=trained_study)
    for alone, together in zip(predicted(study), predicted(trained_study), strict=True):
        np.testing.assert_allclose(alone, together, atol=1e-5)


def test_gradients_are_off_inside_and_as_before_outside(trained_study: Study) -> None:
    layout = Layout.of(trained_study)
    receipt = read_receipt(layout.receipt(TASK, VARIANT, 0))
    sam = trained_sam(trained_study, get_benchmark(TASK), VARIANT, 0, receipt)
    assert not sam.training
    stream = predictions(trained_study, read_manifest(layout.manifest(TASK)), "test", sam)
    next(stream)
    assert not torch.is_inference_mode_enabled()


def test_not_trained_yet(prepared_study: Study) -> None:
    with pytest.raises(RecordError, match="receipt not found") as caught:
        evaluate(prepared_study, TASK, VARIANT, 0)
    assert "naslora train" in (caught.value.remedy or "")


def refuses(study: Study, message: str) -> None:
    """Nothing is written either: the old record stays."""
    path = Layout.of(study).record(TASK, VARIANT, 0)
    before = path.read_bytes()
    with pytest.raises(RecordError, match=message) as caught:
        evaluate(study, TASK, VARIANT, 0)
    assert caught.value.where is not None
    assert "train it again" in (caught.value.remedy or "")
    assert path.read_bytes() == before


def test_other_settings(trained_study: Study, copied: Copy) -> None:
    refuses(copied({"training.learning_rate": 7e-3}, of=trained_study), "other settings")


def test_tampered_weights(trained_study: Study, copied: Copy) -> None:
    study = copied(of=trained_study)
    adapter = Layout.of(study).adapter(TASK, VARIANT, 0)
    data = bytearray(adapter.read_bytes())
    data[-1] ^= 1
    adapter.write_bytes(data)
    refuses(study, "adapter weights are missing or are not those")
    adapter.unlink()
    refuses(study, "adapter weights are missing")


def test_another_split(trained_study: Study, copied: Copy) -> None:
    study = copied(of=trained_study)
    path = Layout.of(study).manifest(TASK)
    manifest = json.loads(path.read_text())
    first = next(sample for sample in manifest["samples"] if sample["split"] == "test")
    first["split"] = "train"
    path.write_text(json.dumps(manifest))
    refuses(study, "another set of images or another split")


def test_another_checkpoint(trained_study: Study, copied: Copy) -> None:
    study = copied(of=trained_study)
    path = Layout.of(study).backbone()
    state = torch.load(path, weights_only=True)
    state["image_encoder.blocks.2.mlp.lin1.weight"][0, 0] += 0.1
    torch.save(state, path)
    refuses(study, "another checkpoint")


def test_predictions_that_are_not_finite_make_a_diverged_record(
    trained_study: Study, copied: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = module.predictions

    def broken(*arguments: Any) -> Iterator[np.ndarray]:
        for index, probability in enumerate(original(*arguments)):
            yield probability * (np.float32("nan") if index == 1 else 1)

    monkeypatch.setattr(module, "predictions", broken)
    study = copied(of=trained_study)
    record = evaluate(study, TASK, VARIANT, 0)
    assert (record.status, record.metrics, record.images) == ("diverged", {}, {})
    assert "not finite" in (record.message or "")
    assert not Layout.of(study).per_image(TASK, VARIANT, 0).exists()
    written = read_record(Layout.of(study).record(TASK, VARIANT, 0))
    assert written == record.model_copy(update={"digest": written.digest})


def test_too_little_memory_is_an_error_with_a_remedy(
    trained_study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(Sam, "forward", full)
    with pytest.raises(SettingsError, match="memory is too small: CUDA") as caught:
        predicted(trained_study)
    assert "evaluation.batch_size" in str(caught.value.remedy)


def test_a_test_set_without_images_is_left_out(
    trained_study: Study, copied: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = ["absent", "test"]
    monkeypatch.setattr(type(get_benchmark(TASK)), "test_sets", tuple(two))
    monkeypatch.setattr(
        module,
        "read_manifest",
        lambda path: read_manifest(path).model_copy(update={"test_sets": two}),
    )
    study = copied(of=trained_study)
    before = read_record(Layout.of(study).record(TASK, VARIANT, 0))
    record = evaluate(study, TASK, VARIANT, 0)
    assert set(record.metrics) == set(record.images) == {"test"}
    assert record.metrics == before.metrics


def test_a_study_for_the_cpu_is_evaluated_there(
    prepared_study: Study, copied: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert evaluation_device(prepared_study).type == "cpu"
    assert evaluation_device(copied({"training.accelerator": "auto"})).type == "cuda"
