"""Analyses of a study's models, by the command and read from the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from naslora.analysis.analyse import analyse, choose_images
from naslora.analysis.document import (
    SCALES,
    Analysis,
    analysis_fingerprint,
    read_analysis,
)
from naslora.analysis.probe import probe, resize_encoder
from naslora.core.errors import DivergedError, RecordError, SettingsError
from naslora.data.benchmarks.contract import get_benchmark
from naslora.data.manifest import read_manifest
from naslora.evaluation import evaluate
from naslora.evaluation.loading import trained_sam
from naslora.methods.merge import plan_dense_merge
from naslora.study.layout import Layout
from naslora.study.records import read_receipt
from naslora.study.settings import Study
from naslora.training.train import train

Copy = Callable[..., Study]
TASK = "kvasir"


def test_a_trained_run(trained_study: Study, copied: Copy) -> None:
    """The numbers in the file, against direct measurements of the model."""
    study = copied(of=trained_study)
    layout = Layout.of(study)
    made = analyse(study, "nas_lora")
    assert read_analysis(study, TASK, "nas_lora", 0) == made
    receipt = read_receipt(layout.receipt(TASK, "nas_lora", 0))
    assert made.adapter_sha256 == receipt.adapter.sha256
    assert made.checkpoint_sha256 == receipt.checkpoint_sha256
    manifest = read_manifest(layout.manifest(TASK))
    assert made.images == [sample.id for sample in manifest.of("test")]  # all, being fewer
    sam = trained_sam(study, get_benchmark(TASK), "nas_lora", 0, receipt)
    images = evaluate.test_images(study, manifest, "test")
    features = probe(sam, torch.stack([images[i][0] for i in range(len(images))]))
    native = made.scales["native"]
    assert (native.image_size, native.grid, native.windows) == (64, 8, [6, 0, 6, 0])
    np.testing.assert_allclose(native.distance, features.distances.mean(0), atol=1e-3)
    np.testing.assert_allclose(native.amplitude, features.amplitudes.mean(0), atol=1e-3)
    by_image = features.distances.mean(2).T
    np.testing.assert_allclose(native.distance_by_image, by_image, atol=1e-3)
    np.testing.assert_allclose(native.amplitude_by_image, features.amplitudes[:, -1], atol=1e-3)
    assert made.scales["224"].grid == 28
    batches = [torch.stack([images[i][0] for i in range(len(images))])]
    merge = plan_dense_merge(sam, "least_squares", batches)
    assert len(made.merge_errors) == len(native.windows)
    assert made.merge_errors == pytest.approx(merge.errors, abs=1e-3)
    assert min(made.merge_errors.values()) > 0.01


def test_models_without_a_run(prepared_study: Study, copied: Copy) -> None:
    study = copied()
    random, sam = analyse(study, "random"), analyse(study, "sam")
    assert random.checkpoint_sha256 is None
    assert sam.checkpoint_sha256 is not None
    assert random.merge_errors == sam.merge_errors == {}
    assert random.scales["native"].distance != sam.scales["native"].distance
    again = analyse(study, "random")
    assert again.scales == random.scales
    assert analyse(study, "random", seed=1).scales != random.scales
    assert read_analysis(study, TASK, "random", 0).scales == random.scales


def test_the_choice_of_images(prepared_study: Study) -> None:
    manifest = read_manifest(Layout.of(prepared_study).manifest(TASK))
    everything = [sample.id for sample in manifest.of("test")]
    assert [s.id for s in choose_images(manifest, 100, 0)] == everything
    many = manifest.model_copy(
        update={"samples": [s.model_copy(update={"split": "test"}) for s in manifest.samples]}
    )
    ids = [s.id for s in choose_images(many, 7, 0)]
    assert len(set(ids)) == 7
    assert ids == sorted(ids) == [s.id for s in choose_images(many, 7, 0)]
    assert ids != [s.id for s in choose_images(many, 7, 1)]


def test_a_run_that_diverged(trained_study: Study, copied: Copy) -> None:
    study = copied({"training.learning_rate": 1e30}, of=trained_study)
    with pytest.raises(DivergedError):
        train(study, TASK, "nas_lora", 0)
    made = analyse(study, "nas_lora")
    assert made.status == "diverged"
    assert made.scales == {}
    assert read_analysis(study, TASK, "nas_lora", 0) == made


def test_what_was_not_trained_or_is_unknown(prepared_study: Study, copied: Copy) -> None:
    study = copied()
    with pytest.raises(RecordError, match="receipt not found"):
        analyse(study, "nas_lora")
    with pytest.raises(SettingsError, match="no method or variant named 'resnet'"):
        analyse(study, "resnet")
    assert not Layout.of(study).records.exists()


def test_trained_with_other_settings(trained_study: Study, copied: Copy) -> None:
    study = copied({"training.learning_rate": 1e-4}, of=trained_study)
    with pytest.raises(RecordError, match="trained with other settings"):
        analyse(study, "nas_lora")


def change(content: dict[str, Any], place: str, value: Any) -> None:
    *path, last = place.split(".")
    for key in path:
        content = content[key]
    content[last] = value


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("schema_version", 2, "schema version 2; this naslora reads 1"),
        ("seed", 3, "is of rehearsal kvasir random 3"),
        ("scales.native.distance", [[float("nan")]], "finite number"),
        ("scales.native.windows", [4, 0], "one list of attention distances per block"),
        ("scales", {}, "both image sizes"),
        ("surprise", 1, "surprise"),
    ],
)
def test_a_tampered_file(
    prepared_study: Study, copied: Copy, place: str, value: Any, message: str
) -> None:
    study = copied()
    path = Layout.of(study).analysis(TASK, "random", 0)
    path.parent.mkdir(parents=True)
    content = json.loads(document(study).model_dump_json())
    path.write_text(json.dumps(content))
    read_analysis(study, TASK, "random", 0)
    change(content, place, value)
    path.write_text(json.dumps(content))
    with pytest.raises(RecordError, match=message):
        read_analysis(study, TASK, "random", 0)
    path.write_text("{")
    with pytest.raises(RecordError, match="damaged"):
        read_analysis(study, TASK, "random", 0)


def test_made_with_other_settings(prepared_study: Study, copied: Copy) -> None:
    study = copied()
    path = Layout.of(study).analysis(TASK, "random", 0)
    path.parent.mkdir(parents=True)
    path.write_text(document(study).model_dump_json())
    for change_ in ({"analysis.images": 7}, {"sam.checkpoint": "random"}):
        other = copied(change_)
        with pytest.raises(RecordError, match="other settings"):
            read_analysis(other, TASK, "random", 0)
    assert read_analysis(copied({"sam.checkpoints": "elsewhere"}), TASK, "random", 0)


def test_the_command(prepared_study: Study, copied: Copy, naslora: Any, options: Any) -> None:
    study = copied()
    path = Layout.of(study).analysis(TASK, "random", 0)
    code, output, _ = naslora("analyse", "--model", "random", *options(study))
    assert (code, output) == (0, f"analysis: {path}\n")
    assert set(read_analysis(study, TASK, "random", 0).scales) == set(SCALES)
    code, _, errors = naslora("analyse", "--model", "lora", *options(study))
    assert code == 1
    assert "run the step that writes it: naslora train" in errors


def document(study: Study) -> Analysis:
    """An analysis of a model with one block and two heads, on two images."""
    statistics = {
        "image_size": 64,
        "grid": 4,
        "windows": [4],
        "uniform_distance": 32.0,
        "distance": [[30.0, 34.0]],
        "distance_by_image": [[31.0, 33.0]],
        "amplitude": [[0.0, -1.0], [0.0, -2.0]],
        "amplitude_by_image": [[0.0, -1.5], [0.0, -2.5]],
    }
    return Analysis.model_validate(
        {
            "status": "done",
            "study": study.study,
            "task": TASK,
            "model": "random",
            "seed": 0,
            "backbone": "tiny",
            "settings": {},
            "fingerprint": analysis_fingerprint(study, TASK, "random", 0),
            "checkpoint_sha256": None,
            "adapter_sha256": None,
            "manifest_sha256": "0" * 64,
            "images": ["a", "b"],
            "scales": {scale: statistics for scale in SCALES},
            "wall_time_s": 1.0,
            "provenance": {
                "hardware": {},
                "versions": {},
                "git_revision": None,
                "git_dirty": None,
            },
        }
    )


def test_resizing_works_on_adapted_models(trained_study: Study, copied: Copy) -> None:
    study = copied(of=trained_study)
    receipt = read_receipt(Layout.of(study).receipt(TASK, "nas_lora", 0))
    sam = trained_sam(study, get_benchmark(TASK), "nas_lora", 0, receipt)
    resize_encoder(sam, 96)
    assert sam.encode(torch.zeros(1, 3, 96, 96)).shape[-2:] == (12, 12)
