"""Methods that change qkv layers, on timm's vision transformers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_sam import VisionTransformerSAM
from torch import Tensor, nn

import naslora
from naslora.core.errors import SettingsError
from naslora.methods.layers import LowRankLinear
from naslora.methods.registry import adapt, method_names, trainable_parameters
from naslora.methods.third_party import TokenMapAdapter, adapt_vit, fused_qkv
from naslora.sam.backbones import BACKBONES
from naslora.sam.building import build_sam

METHODS = ("lora", "dora", "vera", "conv_lora", "nas_lora", "nas_pc_lora")
SETTINGS: dict[str, dict[str, Any]] = {"vera": {"rank": 8}}


def vit(**options: Any) -> nn.Module:
    """A ViT with a class token and, by option, registers."""
    torch.manual_seed(0)
    sizes = {"embed_dim": 48, "depth": 3, "num_heads": 4, "num_classes": 5}
    return VisionTransformer(img_size=32, patch_size=8, **{**sizes, **options})


def swin() -> nn.Module:
    torch.manual_seed(0)
    return SwinTransformer(
        img_size=32,
        patch_size=4,
        window_size=4,
        embed_dim=16,
        depths=(2, 2),
        num_heads=(2, 4),
        num_classes=5,
    )


def timm_sam() -> nn.Module:
    """Our `tiny` image encoder, as timm builds it."""
    torch.manual_seed(0)
    tiny = BACKBONES["tiny"]
    return VisionTransformerSAM(
        img_size=80,
        patch_size=tiny.patch_size,
        embed_dim=tiny.embed_dim,
        depth=tiny.depth,
        num_heads=tiny.num_heads,
        window_size=tiny.window_size,
        global_attn_indexes=tiny.global_attn_indexes,
        neck_chans=tiny.prompt_embed_dim,
        use_rel_pos=True,
        num_classes=0,
        global_pool="",
    )


BUILD: dict[str, Callable[[], nn.Module]] = {
    "class token": vit,
    "registers": lambda: vit(reg_tokens=2, class_token=False, global_pool="avg"),
    "no bias": lambda: vit(qkv_bias=False),
    "swin": swin,
    "sam": timm_sam,
}
SIZE = {"sam": 80}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", BUILD)
def test_starts_as_the_model_and_trains_what_it_says(kind: str, method: str) -> None:
    model = BUILD[kind]().eval()
    generator = torch.Generator().manual_seed(1)
    side = SIZE.get(kind, 32)
    images = torch.randn(2, 3, side, side, generator=generator)
    with torch.no_grad():
        before = model(images)
    expected = [f"{name}.qkv" for name in fused_qkv(model)]
    assert len(expected) == (4 if kind in ("swin", "sam") else 3)
    if (kind, method) == ("swin", "vera"):
        with pytest.raises(SettingsError, match=r"have shapes \[48, 16\] and \[96, 32\]"):
            adapt_vit(model, method, SETTINGS[method])
        assert [f"{name}.qkv" for name in fused_qkv(model)] == expected
        assert all(parameter.requires_grad for parameter in model.parameters())
        return
    assert adapt_vit(model, method, SETTINGS.get(method)) == expected
    with torch.no_grad():
        after = model(images)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
    trained = trainable_parameters(model)
    assert trained
    assert all(".qkv." in name for name in trained)
    model.train()
    optimiser = torch.optim.Adam(trained.values(), lr=1e-2)
    for _ in range(2):
        model(images).square().mean().backward()
        optimiser.step()
        optimiser.zero_grad()
    model.eval()
    with torch.no_grad():
        assert (model(images) - before).abs().max() > 1e-4


def by_our_names(model: nn.Module) -> dict[str, Tensor]:
    def ours(name: str) -> str:
        return name.replace(".mlp.fc", ".mlp.lin").replace(".qkv.layer.", ".qkv.")

    return {ours(name): value for name, value in model.state_dict().items()}


@pytest.mark.parametrize("method", ["lora", "dora", "conv_lora", "nas_lora"])
def test_the_same_in_timms_sam_as_in_ours(method: str) -> None:
    """Windows and their padding are the same, so weights that are copied give the same outputs."""
    theirs = timm_sam().eval()
    sam = build_sam("tiny", 80).eval()
    ours = sam.image_encoder
    ours.load_state_dict(by_our_names(theirs), strict=True)
    adapt_vit(theirs, method)
    adapt(sam, method)
    generator = torch.Generator().manual_seed(2)
    for parameter in trainable_parameters(theirs).values():
        parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    ours.load_state_dict(by_our_names(theirs), strict=True)
    images = torch.randn(2, 3, 80, 80, generator=generator)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("prefix", [0, 1, 3])
def test_patches_are_a_map_and_tokens_before_them_are_alone(prefix: int) -> None:
    class Sum(nn.Module):
        """Adds the value above each position, so that the output depends on neighbours."""

        def forward(self, z: Tensor) -> Tensor:
            return z + nn.functional.pad(z, (0, 0, 0, 0, 1, 0))[:, :-1]

    layer = LowRankLinear(nn.Linear(4, 12), 2, middle=Sum, pointwise=False)
    branch = layer.branches["qkv"]
    nn.init.normal_(branch.lora_B)
    x = torch.randn(2, prefix + 9, 4)
    low = x @ branch.lora_A.T
    for i in range(prefix + 3, prefix + 9):  # rows of three
        low[:, i] += x[:, i - 3] @ branch.lora_A.T
    torch.testing.assert_close(
        TokenMapAdapter(layer, prefix)(x), layer.base(x) + low @ branch.lora_B.T
    )
    with pytest.raises(ValueError, match="are not a square map"):
        TokenMapAdapter(layer, prefix)(x[:, :-1])


def test_the_head_is_trained_if_it_is_named() -> None:
    model = vit()
    adapt_vit(model, "lora", train=["head", "norm.bias"])
    trained = {name for name in trainable_parameters(model) if ".qkv." not in name}
    assert trained == {"head.weight", "head.bias", "norm.bias"}
    with pytest.raises(ValueError, match="no parameter or module named 'hea'"):
        adapt_vit(model := vit(), "lora", train=["hea"])
    adapt_vit(model, "lora", train=["head"])  # as it was


@pytest.mark.parametrize("method", sorted({*method_names()} - {*METHODS}))
def test_other_methods_are_refused_and_change_nothing(method: str) -> None:
    model = vit()
    before = {name: p.clone() for name, p in model.state_dict().items()}
    with pytest.raises(SettingsError, match="is not a method of the qkv layers"):
        adapt_vit(model, method)
    assert all(p.requires_grad for p in model.parameters())
    assert before.keys() == model.state_dict().keys()


def test_what_cannot_be_adapted() -> None:
    with pytest.raises(ValueError, match="Linear has no fused qkv layer"):
        adapt_vit(nn.Linear(3, 3), "lora")
    model = vit()
    adapt_vit(model, "lora")
    with pytest.raises(ValueError, match="carries a method already"):
        adapt_vit(model, "lora")
    with pytest.raises(SettingsError, match="has no block 7"):
        adapt_vit(vit(), "lora", {"layers": [7]})


def test_it_is_what_the_package_offers() -> None:
    model = vit()
    assert naslora.adapt(model, train=["head"]) is model
    assert {"head.bias", "blocks.0.attn.qkv.layer.branches.qkv.lora_A"} <= {
        *trainable_parameters(model)
    }
    with pytest.raises(AttributeError, match="no attribute 'adopt'"):
        _ = naslora.adopt  # type: ignore[attr-defined]


def test_some_layers_and_the_seed() -> None:
    first, second, other = vit(), vit(), vit()
    assert adapt_vit(first, "lora", {"layers": [1]}) == ["blocks.1.attn.qkv"]
    adapt_vit(second, "lora", {"layers": [1]})
    adapt_vit(other, "lora", {"layers": [1]}, seed=1)
    name = "blocks.1.attn.qkv.branches.qkv.lora_A"
    assert torch.equal(first.get_parameter(name), second.get_parameter(name))
    assert not torch.equal(first.get_parameter(name), other.get_parameter(name))


@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224", "vit_small_patch14_reg4_dinov2", "deit3_small_patch16_224"]
)
def test_models_by_name(name: str) -> None:
    with torch.device("meta"):
        model = timm.create_model(name, pretrained=False)
        assert len(adapt_vit(model, "nas_lora")) == 12
