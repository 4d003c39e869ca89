"""The hash of a model's weights."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from naslora.sam.building import build_sam
from naslora.sam.checkpoints import load_checkpoint, save_checkpoint
from naslora.sam.fingerprint import weights_sha256


@pytest.fixture
def sam(randomise):
    sam = build_sam("tiny", 64)
    randomise(sam)
    return sam


def test_the_same_from_any_file(sam, tmp_path):
    expected = weights_sha256(sam)
    save_checkpoint(sam, tmp_path / "sam.pth")
    save_file(sam.state_dict(), tmp_path / "sam.safetensors")
    loaded = build_sam("tiny", 64)
    assert weights_sha256(loaded) != expected
    load_checkpoint(loaded, tmp_path / "sam.pth")
    assert weights_sha256(loaded) == expected
    other = build_sam("tiny", 64)
    other.load_state_dict(load_file(tmp_path / "sam.safetensors"))
    assert weights_sha256(other) == expected
    transposed = torch.nn.Linear(4, 4)
    expected = weights_sha256(transposed)
    transposed.weight.data = transposed.weight.data.T.contiguous().T  # another layout in memory
    assert weights_sha256(transposed) == expected


@given(data=st.data())
def test_any_changed_value_changes_it(data):
    layer = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 3))
    before = weights_sha256(layer)
    name = data.draw(st.sampled_from(sorted(layer.state_dict())))
    flat = layer.state_dict()[name].view(-1)
    index = data.draw(st.integers(0, len(flat) - 1))
    flat[index] = torch.nextafter(flat[index], torch.tensor(torch.inf))
    assert weights_sha256(layer) != before
    assert weights_sha256(layer, exclude={name}) == weights_sha256(layer, exclude=[name])


def test_names_and_shapes_count():
    a, b = torch.nn.Linear(2, 3, bias=False), torch.nn.Linear(3, 2, bias=False)
    b.load_state_dict({"weight": a.weight.detach().reshape(2, 3)})
    assert weights_sha256(a) != weights_sha256(b)
    assert weights_sha256(torch.nn.Sequential(a)) != weights_sha256(a)


def test_what_is_excluded_may_change(sam):
    names = {name for name in sam.state_dict() if name.startswith("mask_decoder.")}
    before = weights_sha256(sam, exclude=names)
    sam.mask_decoder.iou_token.weight.data += 1
    assert weights_sha256(sam, exclude=names) == before
    assert weights_sha256(sam, exclude=names - {"mask_decoder.iou_token.weight"}) != before


def test_precision(sam):
    single = weights_sha256(sam)
    half = weights_sha256(sam, dtype=torch.bfloat16)
    assert half != single
    assert weights_sha256(sam.double()) == single
    assert weights_sha256(sam.bfloat16(), dtype=torch.bfloat16) == half
    assert weights_sha256(sam) != single


def test_no_values_on_the_meta_device():
    with torch.device("meta"):
        layer = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match="bias is on the meta device"):
        weights_sha256(layer)
