from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from naslora.core.errors import CheckpointError, SettingsError
from naslora.core.files import sha256
from naslora.sam import shipped
from naslora.sam.building import build_sam
from naslora.sam.checkpoints import load_checkpoint
from naslora.study.layout import Layout
from naslora.study.settings import Study
from naslora.training.pretraining import publishing
from naslora.training.pretraining.prompts import largest_regions
from naslora.training.pretraining.publishing import publish

Copy = Callable[..., Study]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "_SCENES", 4)
    monkeypatch.setattr(publishing, "_IMAGES", 2)


@pytest.mark.usefixtures("few")
def test_weights_come_with_a_card(
    copied: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = copied()
    path = publish(study, tmp_path / "weights")
    state = load_file(path)
    assert {value.dtype for value in state.values()} == {torch.float16}
    assert set(state) == set(build_sam("tiny", 64, decoder="original").state_dict())
    card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert card["sha256"] == sha256(path)
    assert set(card["zero_shot"]) == {"kvasir"}
    assert all(0 <= value <= 1 for value in card["zero_shot"]["kvasir"].values())
    text = path.with_suffix(".md").read_text(encoding="utf-8")
    assert card["sha256"] in text
    assert f"| kvasir | {card['zero_shot']['kvasir']['click']:.3f} |" in text
    assert f"- steps: {study.pretraining.steps}" in text

    # They are what `sam.checkpoint: shipped` finds, and are close to those that were trained.
    monkeypatch.setattr(shipped, "WEIGHTS", path.parent)
    found, trained = build_sam("tiny", 64), build_sam("tiny", 64)
    load_checkpoint(found, shipped.shipped_checkpoint("tiny"))
    load_checkpoint(trained, Layout.of(study).backbone())
    for a, b in zip(found.parameters(), trained.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=2e-3, atol=1e-6)


@pytest.mark.usefixtures("few")
def test_the_card_has_the_recipes_of_all_stages(copied: Copy, tmp_path: Path) -> None:
    study = copied()
    document = Layout.of(study).backbone().with_suffix(".json")
    about = json.loads(document.read_text(encoding="utf-8"))
    first = about | {"settings": about["settings"] | {"steps": 77}}
    second = first | {"settings": about["settings"] | {"steps": 88}, "earlier": first}
    document.write_text(json.dumps(about | {"earlier": second}), encoding="utf-8")
    path = publish(study, tmp_path / "weights")
    text = path.with_suffix(".md").read_text(encoding="utf-8")
    one, two = text.split("## Recipe, stage 2 of 3")
    two, three = two.split("## Recipe, stage 3 of 3")
    assert "## Recipe, stage 1 of 3" in one
    assert "- steps: 77" in one
    assert "- started from: random weights" in one
    assert "- steps: 88" in two
    assert f"- steps: {study.pretraining.steps}" in three
    assert three.count("- started from: the weights of the stage before") == 1


def test_weights_of_another_curve_are_not_published(copied: Copy, tmp_path: Path) -> None:
    study = copied()
    source = Layout.of(study).backbone()
    torch.save(build_sam("tiny", 64, decoder="original").state_dict(), source)
    with pytest.raises(CheckpointError, match="not those of the learning curve"):
        publish(study, tmp_path)
    source.unlink()
    with pytest.raises(CheckpointError, match="no pretrained weights"):
        publish(study, tmp_path)
    assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.usefixtures("few")
def test_a_card_without_scores_is_not_published(
    copied: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = np.zeros((60, 60, 3), np.uint8), np.zeros((60, 60), np.uint8)
    monkeypatch.setattr(publishing, "drawing_of", lambda benchmark: lambda rng: empty)
    with pytest.raises(SettingsError, match="no image drawn for kvasir has a region"):
        publish(copied(), tmp_path)
    assert not list(tmp_path.glob("tiny.*"))


def test_the_largest_regions_are_prompted() -> None:
    labels = np.zeros((100, 100), np.uint8)
    labels[:10, :10] = labels[50:90, 50:90] = 1
    labels[:10, 10:15] = 2  # touches the first, and is another class
    labels[40, 40] = 1  # too small
    masks = largest_regions(labels)
    assert [int(mask.sum()) for mask in masks] == [1600, 100, 50]
    assert largest_regions(np.zeros((10, 10), np.uint8)).shape == (0,)
