"""Files that do not fit, each with its own message."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from naslora.core.errors import StateError
from naslora.core.files import sha256
from naslora.methods.merge import merge
from naslora.methods.registry import adapt
from naslora.methods.state import load_adapted_sam, load_adapter, save_adapter
from naslora.sam.building import Sam
from naslora.sam.checkpoints import load_checkpoint, save_checkpoint

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
        ({"seed": 1}, "trained on weights that differ"),
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


@pytest.mark.parametrize(
    "change",
    [
        {"method": "unknown"},
        {"settings": {"rnak": 1}},
        {"settings": {"rank": 1_000_000_000}},
        {"settings": {"layers": [0, 99]}},
    ],
)
def test_unknown_method_or_setting(change: dict[str, Any], plain: Build, saved: Path) -> None:
    rewrite(saved, lambda content, _: content.update(change))
    with pytest.raises(StateError, match="restore"):
        load_adapter(plain(), saved)


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        ("method", None, "method"),
        ("method", ["lora"], "method"),
        ("method", "../lora", "method"),
        ("settings", [], "settings"),
        ("settings", None, "settings"),
        ("seed", "0", "seed"),
        ("seed", -1, "seed"),
        ("seed", 2**64, "seed"),
        ("seed", True, "seed"),
        ("model", [], "model"),
        ("model.backbone", [], r"model\.backbone"),
        ("model.image_size", 144, r"model\.image_size"),
        ("model.image_size", [144], r"model\.image_size"),
        ("model.image_size", [10**9, 10**9], r"model\.image_size"),
        ("model.classes", 0, r"model\.classes"),
        ("model.mask_tokens", 10**9, r"model\.mask_tokens"),
        ("model.decoder", "other", r"model\.decoder"),
        ("model.hypernetworks", None, r"model\.hypernetworks"),
        ("base", "abc", "base"),
        ("base.file", 3, r"base\.file"),
        ("base.file_sha256", "abc", r"base\.file_sha256"),
        ("base.weights_sha256", {"float32": 1.5}, r"base\.weights_sha256"),
        ("surplus", 1, "surplus"),
    ],
)
def test_invalid_content_is_named(
    place: str, value: object, told: str, plain: Build, saved: Path
) -> None:
    def change(content: dict[str, Any], _: dict[str, Tensor]) -> None:
        *parents, last = place.split(".")
        for name in parents:
            content = content[name]
        content[last] = value

    rewrite(saved, change)
    for load in (lambda: load_adapter(plain(), saved), lambda: load_adapted_sam(saved)):
        with pytest.raises(StateError, match=f"adapter is invalid: {told}") as caught:
            load()
        assert str(saved) in str(caught.value)
        assert caught.value.remedy


@pytest.mark.parametrize(
    "place", ["method", "settings", "seed", "model", "model.backbone", "base", "base.file"]
)
def test_missing_content_is_named(place: str, plain: Build, saved: Path) -> None:
    def change(content: dict[str, Any], _: dict[str, Tensor]) -> None:
        *parents, last = place.split(".")
        for name in parents:
            content = content[name]
        del content[last]

    rewrite(saved, change)
    with pytest.raises(StateError, match=f"invalid: {place}: Field required"):
        load_adapter(plain(), saved)


@pytest.mark.parametrize("text", ["", "[]", "1", "{", "[" * 100_000, '{"schema_version": 2}'])
def test_metadata_that_is_no_content(text: str, plain: Build, saved: Path) -> None:
    _, tensors = read(saved)
    save_file(tensors, saved, {"naslora": text})
    with pytest.raises(StateError, match="adapter"):
        load_adapter(plain(), saved)


def test_an_unknown_backbone(saved: Path) -> None:
    rewrite(saved, lambda content, _: content["model"].update(backbone="vit_x"))
    with pytest.raises(StateError, match="vit_x"):
        load_adapted_sam(saved, saved)


@pytest.mark.parametrize(
    "settings", [{"rank": 65536}, {"rank": 60000, "projections": ["q", "k", "v"]}]
)
def test_settings_are_compared_with_shapes_before_memory_is_taken(
    settings: dict[str, Any], adapted: Build, plain: Build, tmp_path: Path
) -> None:
    path = tmp_path / "adapter.safetensors"
    for method in ("lora", "vera"):
        save_adapter(adapted(method, {"rank": 2}), path)
        rewrite(path, lambda content, _: content["settings"].update(settings))
        sam = plain()
        before = peak_bytes()
        with pytest.raises(StateError, match=r"shape|missing"):
            load_adapter(sam, path)
        assert sam.adaptation is None
        assert peak_bytes() - before < 60 << 20  # each would take more than 200 MB


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("dtype", [torch.bool, torch.int32, torch.int64, torch.complex64])
def test_numbers_that_no_weight_has(dtype: torch.dtype, plain: Build, saved: Path) -> None:
    name = "mask_decoder.mask_tokens.weight"
    rewrite(saved, lambda _, tensors: tensors.update({name: tensors[name].to(dtype)}))
    with pytest.raises(StateError, match=rf"{name} has dtype"):
        load_adapter(plain(), saved)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite(value: float, plain: Build, saved: Path) -> None:
    name = "mask_decoder.mask_tokens.weight"
    rewrite(saved, lambda _, tensors: tensors[name][0].fill_(value))
    sam = plain()
    with pytest.raises(StateError, match=rf"{name} holds values that are not finite"):
        load_adapter(sam, saved)
    assert sam.adaptation is None


@pytest.mark.parametrize("method", ["lora", "bitfit", "decoder_only", "nas_pc_lora"])
def test_a_merged_sam_is_no_base(method: str, adapted: Build, plain: Build, tmp_path: Path) -> None:
    """A single weight that differs from the adapter's base is enough for an error."""
    adapter, file = tmp_path / "adapter.safetensors", tmp_path / "sam.pth"
    save_checkpoint(plain(), file)
    sam = load_checkpoint_into(plain(seed=3), file)
    adapt(sam, method, seed=1)
    save_adapter(sam, adapter)
    content, _ = read(adapter)
    assert content["base"]["file"] == "sam.pth"
    assert content["base"]["file_sha256"] == sha256(file)
    load_adapter(load_checkpoint_into(plain(seed=3), file), adapter)
    with torch.no_grad():
        other = plain()
        other.image_encoder.blocks[-1].mlp.lin2.weight[5, 7] += 1e-4
    with pytest.raises(StateError, match="trained on weights that differ") as caught:
        load_adapter(other, adapter)
    assert "sam.pth" in str(caught.value)


def test_a_merged_file_is_refused_as_base(adapted: Build, plain: Build, tmp_path: Path) -> None:
    adapter, file = tmp_path / "adapter.safetensors", tmp_path / "merged.pth"
    sam = adapted("lora")
    save_adapter(sam, adapter)
    save_checkpoint(merge(sam), file)
    assert sam.checkpoint is None
    with pytest.raises(
        StateError, match=r"differ from the model.s \(which are those of merged\.pth\)"
    ):
        load_adapted_sam(adapter, file)


def load_checkpoint_into(sam: Sam, path: Path) -> Sam:
    load_checkpoint(sam, path)
    return sam


def test_other_positions_are_the_same_base(
    adapted: Build, plain: Build, tmp_path: Path, images: Any
) -> None:
    """They are interpolated to the image size, in other last digits on other machines."""
    path = tmp_path / "adapter.safetensors"
    save_adapter(adapted("lora"), path)
    sam = plain()
    with torch.no_grad():
        sam.image_encoder.pos_embed += 1e-7
        sam.image_encoder.blocks[0].attn.rel_pos_h += 1e-7
    load_adapter(sam, path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_weights_in_another_precision(dtype: torch.dtype, plain: Build, saved: Path) -> None:
    load_adapter(plain().to(dtype), saved)
    with torch.no_grad():
        other = plain().to(dtype)
        other.image_encoder.blocks[0].mlp.lin1.weight *= 1.01
    with pytest.raises(StateError, match="trained on weights that differ"):
        load_adapter(other, saved)


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
