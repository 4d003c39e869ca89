"""Files of weights that others save, and those that must be refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from naslora.core.errors import CheckpointError
from naslora.sam.building import Sam, build_sam
from naslora.sam.checkpoints import load_checkpoint
from naslora.sam.reading import read_weights

PATCHES = "image_encoder.patch_embed.proj.weight"


@pytest.fixture
def sam(randomise: Callable[[Any], None]) -> Sam:
    sam = build_sam("tiny", 64, decoder="original")
    randomise(sam)
    return sam


def loaded(path: Path) -> dict[str, Tensor]:
    """The state of a SAM that loaded a file, without any warning."""
    other = build_sam("tiny", 64, decoder="original")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_checkpoint(other, path)
    return other.state_dict()


def refusal(state: Any, folder: Path) -> str:
    torch.save(state, folder / "sam.pth")
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(build_sam("tiny", 64, decoder="original"), folder / "sam.pth")
    assert caught.value.where == folder / "sam.pth"
    assert caught.value.remedy
    return caught.value.what


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor], rtol: float = 0) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name].to(value), rtol=rtol, atol=0, msg=name)


@pytest.mark.parametrize("prefix", ["", "module.", "module.sam.", "model."])
@pytest.mark.parametrize("wrapper", [None, "model", "state_dict", "net"])
def test_wrapped_and_prefixed(sam: Sam, prefix: str, wrapper: str | None, tmp_path: Path) -> None:
    state: Any = {prefix + name: value for name, value in sam.state_dict().items()}
    if wrapper is not None:
        state = {"epoch": 3, "optimizer": {"state": {}}, wrapper: state}
    torch.save(state, tmp_path / "sam.pth")
    assert_same(loaded(tmp_path / "sam.pth"), sam.state_dict())


def test_the_model_is_taken_not_its_average(sam: Sam, tmp_path: Path) -> None:
    average = {name: value + 1 for name, value in sam.state_dict().items()}
    torch.save({"ema": average, "model": sam.state_dict()}, tmp_path / "sam.pth")
    assert_same(loaded(tmp_path / "sam.pth"), sam.state_dict())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_safetensors_in_any_precision(sam: Sam, dtype: torch.dtype, tmp_path: Path) -> None:
    save_file({n: v.to(dtype) for n, v in sam.state_dict().items()}, tmp_path / "sam.safetensors")
    state = loaded(tmp_path / "sam.safetensors")
    assert all(value.dtype == torch.float32 for value in state.values())
    assert_same(state, {n: v.to(dtype) for n, v in sam.state_dict().items()})


HQ = {
    "mask_decoder.hf_token.weight": (1, 64),
    "mask_decoder.hf_mlp.layers.0.weight": (64, 64),
    "mask_decoder.compress_vit_feat.0.weight": (64, 64, 2, 2),
    "mask_decoder.embedding_encoder.0.weight": (64, 16, 2, 2),
    "mask_decoder.embedding_maskfeature.0.weight": (16, 8, 3, 3),
}


def test_sam_hq_says_what_is_not_used(sam: Sam, tmp_path: Path) -> None:
    extra = {name: torch.zeros(shape) for name, shape in HQ.items()}
    torch.save({**sam.state_dict(), **extra}, tmp_path / "sam_hq.pth")
    other = build_sam("tiny", 64, decoder="original")
    with pytest.warns(UserWarning, match=r"sam_hq\.pth is a checkpoint of SAM-HQ: the 5 weights"):
        load_checkpoint(other, tmp_path / "sam_hq.pth")
    assert_same(other.state_dict(), sam.state_dict())


def test_the_rest_of_a_larger_model_is_named(sam: Sam, tmp_path: Path) -> None:
    state = {f"sam.{name}": value for name, value in sam.state_dict().items()}
    torch.save({**state, "head.weight": torch.zeros(2)}, tmp_path / "sam.pth")
    other = build_sam("tiny", 64, decoder="original")
    with pytest.warns(UserWarning, match=r"holds 1 weights that are not a SAM's .*: head\.weight"):
        load_checkpoint(other, tmp_path / "sam.pth")
    assert_same(other.state_dict(), sam.state_dict())


def test_layers_of_a_method_are_not_dropped(sam: Sam, tmp_path: Path) -> None:
    name = "image_encoder.blocks.0.attn.qkv.linear_a_q.weight"
    what = refusal({**sam.state_dict(), name: torch.zeros(4, 64)}, tmp_path)
    assert f"holds weights that SAM tiny does not have: {name}" in what


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int8, torch.int64])
def test_numbers_that_are_no_floats(sam: Sam, dtype: torch.dtype, tmp_path: Path) -> None:
    state = {**sam.state_dict(), PATCHES: sam.state_dict()[PATCHES].to(dtype)}
    assert f"is of type {str(dtype)[6:]}, not floating-point" in refusal(state, tmp_path)


def test_complex_sparse_and_absent_values(sam: Sam, tmp_path: Path) -> None:
    weight = sam.state_dict()[PATCHES]
    for bad, message in (
        (torch.complex(weight, weight), "is of type complex64, not floating-point"),
        (weight.to_sparse(), "is sparse or quantized"),
        (weight.to("meta"), "has no values"),
        (torch.tensor(1.0), "is damaged or not a SAM"),
    ):
        assert message in refusal({**sam.state_dict(), PATCHES: bad}, tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
@pytest.mark.parametrize("name", [PATCHES, "mask_decoder.iou_token.weight"])
def test_values_that_are_not_finite(sam: Sam, name: str, value: float, tmp_path: Path) -> None:
    state = {n: v.double() for n, v in sam.state_dict().items()}
    state[name].view(-1)[1] = value
    assert f"{name} holds values that are not finite in float32" in refusal(state, tmp_path)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_weights_of_any_shape_end_in_a_message(tmp_path: Path, data: st.DataObject) -> None:
    """No shape of any weight gives a traceback; none is broadcast or cut."""
    own = build_sam("tiny", 64, decoder="original")
    state = own.state_dict()
    name = data.draw(st.sampled_from(sorted(state)))
    shape = data.draw(st.lists(st.integers(0, 3), max_size=5))
    state[name] = torch.zeros(shape)
    torch.save(state, tmp_path / "sam.pth")
    other = build_sam("tiny", 64, decoder="original")
    with suppress(CheckpointError):
        load_checkpoint(other, tmp_path / "sam.pth")
        # What is accepted has positions of another image size, or fewer mask tokens.
        assert "pos" in name or "mask_tokens" in name


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    kind=st.sampled_from(["zip", "old", "safetensors"]),
    places=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=8),
    early=st.booleans(),
    cut=st.floats(0, 1),
)
def test_damaged_files_end_in_a_message(
    tmp_path: Path, kind: str, places: list[float], early: bool, cut: float
) -> None:
    path = tmp_path / f"{kind}.file"
    whole = tmp_path / f"{kind}.whole"
    if not whole.exists():
        state = build_sam("tiny", 64, decoder="original").state_dict()
        if kind == "safetensors":
            save_file(state, whole)
        else:
            torch.save(state, whole, _use_new_zipfile_serialization=kind == "zip")
    content = bytearray(whole.read_bytes())
    span = min(20_000, len(content)) if early else len(content)
    for place in places:
        content[int(place * span)] ^= 0x55
    path.write_bytes(content[: int(len(content) * cut)] if cut < 0.5 else content)
    with suppress(CheckpointError):
        state, _ = read_weights(path)
        assert state


def test_a_folder_in_place_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="checkpoint not found"):
        read_weights(tmp_path)
