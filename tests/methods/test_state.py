"""Files that do not fit, each with its own message."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from naslora.core.errors import StateError
from naslora.methods.merge import merge
from naslora.methods.state import load_adapter, save_adapter
from naslora.sam.building import Sam

Build = Callable[..., Sam]
DARTS = {"style": "darts", "conv_bias": True}


@pytest.fixture
def saved(adapted: Build, tmp_path: Path) -> Path:
    path = tmp_path / "adapter.safetensors"
    save_adapter(adapted("nas_pc_lora"), path)
    return path


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return json.loads(file.metadata()["naslora"]), tensors


def rewrite(path: Path, change: Callable[[dict[str, Any], dict[str, Tensor]], object]) -> None:
    content, tensors = read(path)
    change(content, tensors)
    save_file(tensors, path, {"naslora": json.dumps(content)})


def test_holds_what_is_trained_and_no_more(saved: Path) -> None:
    content, tensors = read(saved)
    assert content["method"] == "nas_pc_lora"
    assert content["settings"]["rank"] == 3
    assert all(name.startswith("mask_decoder.") or ".branches." in name for name in tensors), (
        sorted(tensors)
    )
    assert not any("iou_prediction_head" in name for name in tensors)


def test_is_the_same_file_twice(adapted: Build, saved: Path, tmp_path: Path) -> None:
    save_adapter(adapted("nas_pc_lora"), tmp_path / "again.safetensors")
    assert saved.read_bytes() == (tmp_path / "again.safetensors").read_bytes()


def test_keeps_running_statistics(
    adapted: Build, plain: Build, images: Any, tmp_path: Path
) -> None:
    sam = adapted("nas_lora", DARTS).train()
    with torch.no_grad():
        sam(images(2))
    sam.eval()
    save_adapter(sam, tmp_path / "a.safetensors")
    _, tensors = read(tmp_path / "a.safetensors")
    assert any(name.endswith("running_mean") for name in tensors)
    fresh = plain()
    load_adapter(fresh, tmp_path / "a.safetensors")
    with torch.no_grad():
        assert torch.equal(fresh(images()).masks, sam(images()).masks)


def test_loads_onto_a_sam_with_the_same_method(adapted: Build, saved: Path, images: Any) -> None:
    sam = adapted("nas_pc_lora", move=0.0)
    load_adapter(sam, saved)
    with torch.no_grad():
        assert torch.equal(sam(images()).masks, adapted("nas_pc_lora")(images()).masks)


@pytest.mark.parametrize(
    ("method", "settings"), [("lora", {}), ("nas_pc_lora", {"rank": 6}), ("nas_lora", {})]
)
def test_other_method_on_the_sam(
    method: str, settings: dict[str, Any], adapted: Build, saved: Path
) -> None:
    with pytest.raises(StateError, match="carries"):
        load_adapter(adapted(method, settings), saved)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"backbone": "small"}, "backbone tiny"),
        ({"size": (128, 128)}, r"image_size \[144, 112\]"),
        ({"classes": 3}, "classes 1"),
        ({"decoder": "original"}, "semantic"),
        ({"seed": 1}, "pre-trained weights"),
    ],
)
def test_other_model(values: dict[str, Any], message: str, plain: Build, saved: Path) -> None:
    with pytest.raises(StateError, match=message) as caught:
        load_adapter(plain(**values), saved)
    assert str(saved) in str(caught.value)


def test_other_number_of_mask_tokens(adapted: Build, plain: Build, tmp_path: Path) -> None:
    save_adapter(adapted("lora", classes=3, mask_tokens=4), tmp_path / "a.safetensors")
    load_adapter(plain(classes=3, mask_tokens=4), tmp_path / "a.safetensors")
    with pytest.raises(StateError, match="mask_tokens 4"):
        load_adapter(plain(classes=3, mask_tokens=5), tmp_path / "a.safetensors")


def test_same_model_in_bfloat16(plain: Build, saved: Path) -> None:
    load_adapter(plain().to(torch.bfloat16), saved)


def test_missing_tensor(plain: Build, saved: Path) -> None:
    rewrite(saved, lambda _, tensors: tensors.pop("mask_decoder.mask_tokens.weight"))
    with pytest.raises(StateError, match=r"missing: mask_decoder\.mask_tokens\.weight"):
        load_adapter(plain(), saved)


def test_extra_tensor(plain: Build, saved: Path) -> None:
    rewrite(saved, lambda _, tensors: tensors.update(surplus=torch.zeros(1)))
    with pytest.raises(StateError, match="no place for surplus"):
        load_adapter(plain(), saved)


def test_wrong_shape(plain: Build, saved: Path) -> None:
    name = "mask_decoder.mask_tokens.weight"
    rewrite(saved, lambda _, tensors: tensors.update({name: torch.zeros(2, 2)}))
    with pytest.raises(StateError, match=r"mask_tokens.* has shape \[2, 2\]"):
        load_adapter(plain(), saved)


def test_rank_that_contradicts_the_tensors(plain: Build, saved: Path) -> None:
    rewrite(saved, lambda content, _: content["settings"].update(rank=5))
    with pytest.raises(StateError, match="shape"):
        load_adapter(plain(), saved)


@pytest.mark.parametrize("change", [{"method": "unknown"}, {"settings": {"rnak": 1}}])
def test_unknown_method_or_setting(change: dict[str, Any], plain: Build, saved: Path) -> None:
    rewrite(saved, lambda content, _: content.update(change))
    with pytest.raises(StateError, match="restore"):
        load_adapter(plain(), saved)


def test_other_schema_version(plain: Build, saved: Path) -> None:
    rewrite(saved, lambda content, _: content.update(schema_version=99))
    with pytest.raises(StateError, match="99"):
        load_adapter(plain(), saved)


def test_missing_file(plain: Build, tmp_path: Path) -> None:
    with pytest.raises(StateError, match="no such"):
        load_adapter(plain(), tmp_path / "none.safetensors")


@pytest.mark.parametrize("keep", [0, 5, 1000, -1])
def test_truncated_file(keep: int, plain: Build, saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(StateError, match="cannot read"):
        load_adapter(plain(), saved)


def test_file_of_another_program(plain: Build, tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(StateError, match="holds no adapter"):
        load_adapter(plain(), tmp_path / "x.safetensors")


def test_nothing_to_save(plain: Build, adapted: Build, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(StateError, match="no method"):
        save_adapter(plain(), path)
    with pytest.raises(StateError, match="no method"):
        save_adapter(merge(adapted("lora")), path)
    with pytest.raises(StateError, match="collapsed"):
        save_adapter(merge(adapted("nas_lora"), "collapsed"), path)
    assert not path.exists()
