"""Weights that are part of the package."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from naslora.core.errors import CheckpointError
from naslora.sam import shipped
from naslora.sam.building import build_sam
from naslora.sam.checkpoints import find_checkpoint, load_checkpoint
from naslora.sam.shipped import WEIGHTS, shipped_backbones, shipped_checkpoint


@pytest.fixture
def weights(tmp_path, monkeypatch, randomise):
    """The folder of shipped weights, with weights of `tiny` in float16 and their card."""
    monkeypatch.setattr(shipped, "WEIGHTS", tmp_path)
    sam = build_sam("tiny", 64, decoder="original")
    randomise(sam)
    path = tmp_path / "tiny.safetensors"
    save_file({name: value.half() for name, value in sam.state_dict().items()}, path)
    card = {"backbone": "tiny", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    (tmp_path / "tiny.json").write_text(json.dumps(card))
    return sam


def test_they_are_found_and_loaded_in_float32(weights, tmp_path):
    path = find_checkpoint("shipped", "tiny", Path("nowhere"))
    assert path == tmp_path / "tiny.safetensors"
    sam = build_sam("tiny", 64, decoder="original")
    load_checkpoint(sam, path)
    for name, value in sam.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, weights.state_dict()[name].half().float()), name


def test_another_file_than_the_cards_is_refused(weights, tmp_path):
    path = tmp_path / "tiny.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="not those of their card") as caught:
        shipped_checkpoint("tiny")
    assert caught.value.where == path


@pytest.mark.parametrize("card", [None, "", "{", "[]", "{}", '"text"'])
def test_a_bad_card(weights, tmp_path, card):
    if card is None:
        (tmp_path / "tiny.json").unlink()
    else:
        (tmp_path / "tiny.json").write_text(card)
    with pytest.raises(CheckpointError, match="card of the shipped weights of tiny cannot be read"):
        shipped_checkpoint("tiny")


def test_there_are_none_of_a_large_backbone(weights):
    assert shipped_backbones() == ["tiny"]
    with pytest.raises(CheckpointError, match="no weights of vit_b are shipped; there are: tiny"):
        find_checkpoint("shipped", "vit_b", Path("nowhere"))


@pytest.mark.parametrize("backbone", [path.stem for path in WEIGHTS.glob("*.safetensors")])
def test_what_is_shipped_is_what_its_card_says(backbone):
    sam = build_sam(backbone, 128, decoder="original")
    assert load_checkpoint(sam, shipped_checkpoint(backbone))


def test_every_file_among_the_weights_is_part_of_a_pair():
    stems = [{p.stem for p in WEIGHTS.glob(f"*.{kind}")} for kind in ("json", "safetensors")]
    assert stems[0] == stems[1]
