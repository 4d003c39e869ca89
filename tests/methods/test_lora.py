"""LoRA against HF peft, its parts, and its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from naslora.core.errors import SettingsError
from naslora.methods.layers import LowRankLinear, encoder_blocks
from naslora.methods.registry import adapt, get_method, trainable_parameters
from naslora.sam.building import Sam, build_sam

Build = Callable[..., Sam]


@pytest.mark.parametrize("lora_alpha", [3, 32])
def test_equals_peft(lora_alpha: int) -> None:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    base = nn.Linear(24, 72)
    layer = LowRankLinear(base, rank=3, scale=lora_alpha / 3)
    _, branch = next(layer.named_branches())
    nn.init.normal_(branch.lora_B)
    holder = nn.ModuleDict({"qkv": nn.Linear(24, 72)})
    holder["qkv"].load_state_dict(base.state_dict())
    config = LoraConfig(r=3, lora_alpha=lora_alpha, target_modules=["qkv"], lora_dropout=0.0)
    peft = get_peft_model(holder, config).base_model.model["qkv"]
    with torch.no_grad():
        peft.lora_A["default"].weight.copy_(branch.lora_A)
        peft.lora_B["default"].weight.copy_(branch.lora_B)

    x = torch.randn(2, 5, 4, 24, requires_grad=True)
    weights = torch.randn(2, 5, 4, 72)
    results: list[list[Tensor]] = []
    for module, A, B in (
        (layer, branch.lora_A, branch.lora_B),
        (peft, peft.lora_A["default"].weight, peft.lora_B["default"].weight),
    ):
        y = module(x)
        results.append([y, *torch.autograd.grad((y * weights).mean(), [x, A, B])])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


def test_the_start(plain: Build) -> None:
    sam = plain()
    adapt(sam, "lora", {"rank": 4})
    for name, parameter in trainable_parameters(sam).items():
        if name.endswith("lora_B"):
            assert not parameter.any()
        if name.endswith("lora_A"):
            bound = parameter.shape[1] ** -0.5
            assert 0.9 * bound < parameter.abs().max() <= bound


@pytest.mark.parametrize("projections", [["q"], ["q", "v"], ["k", "q", "v"]])
def test_projections_change_their_thirds_alone(adapted: Build, projections: list[str]) -> None:
    sam = adapted("lora", {"projections": projections})
    layer = sam.image_encoder.blocks[0].attn.qkv
    x = torch.randn(2, 3, 3, layer.in_features)
    change = (layer(x) - layer.base(x)).chunk(3, dim=-1)
    for name, part in zip("qkv", change, strict=True):
        assert bool(part.abs().max() > 0.01) == (name in projections)
    for name, branch in layer.named_branches():
        torch.testing.assert_close(branch(x), change["qkv".index(name)], atol=1e-5, rtol=1e-4)


def test_layers_are_chosen(plain: Build) -> None:
    sam = plain()
    adapt(sam, "lora", {"layers": [1, 3]})
    kinds = [type(block.attn.qkv) for block in encoder_blocks(sam)]
    assert kinds == [nn.Linear, LowRankLinear, nn.Linear, LowRankLinear]


@pytest.mark.parametrize(("depth", "first"), [(4, 2), (3, 1)])
def test_halves_fit_any_depth(plain: Build, depth: int, first: int) -> None:
    for half, expected in (("first_half", range(first)), ("last_half", range(first, depth))):
        sam = plain(depth=depth)
        adapt(sam, "lora", {"layers": half})
        blocks = encoder_blocks(sam)
        chosen = [i for i, block in enumerate(blocks) if isinstance(block.attn.qkv, LowRankLinear)]
        assert chosen == list(expected)
        assert encoder_blocks(sam, half) == [blocks[i] for i in expected]


def test_a_layer_that_is_not_there(plain: Build) -> None:
    with pytest.raises(SettingsError, match="no block 4"):
        adapt(plain(), "lora", {"layers": [0, 4]})


@pytest.mark.parametrize(
    "values",
    [
        {"rank": 1.5},
        {"lora_alpha": 0},
        {"projections": []},
        {"projections": ["q", "o"]},
        {"projections": ["q", "q"]},
        {"layers": []},
        {"layers": 3},
        {"layers": "all"},
        {"layers": "half"},
        {"layers": [1, 1]},
        {"layers": [True]},
    ],
)
def test_refuses(values: Mapping[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(values))):
        get_method("lora").parse(values)


@pytest.mark.parametrize(("method", "count"), [("decoder_only", 3_505_536), ("lora", 3_997_056)])
def test_the_papers_count(method: str, count: int) -> None:
    with torch.device("meta"):
        sam = build_sam("vit_h", 1024)
    adapt(sam, method)
    assert sum(p.numel() for p in trainable_parameters(sam).values()) == count
