"""SAM-Adapter against its reference, and its high-pass filter against the definition.

`golden/sam_adapter.safetensors` holds weights, image and outputs of
tianrun-chen/SAM-Adapter-PyTorch at commit 665145d1993bbe4a6dad183eb0911332e8e7c1cb: the
`ImageEncoderViT` of `models/mmseg/models/sam` (64 px, 8 channels, 2 blocks, the first in windows of
3 with padding, adapter 4 wide), float64; and its `fft` on a wide and on an odd map.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from naslora.core.errors import SettingsError
from naslora.methods.registry import adapt, get_method, trainable_parameters
from naslora.methods.sam_adapter import SamAdapter, SamAdapterSettings, high_pass
from naslora.sam.backbones import BACKBONES
from naslora.sam.building import build_sam
from naslora.sam.image_encoder import ImageEncoderViT

GOLDEN = Path(__file__).parent / "golden" / "sam_adapter.safetensors"
NAMES = {
    "prompt_generator.prompt_generator.proj": "injector.patches",
    "prompt_generator.embedding_generator": "injector.embed",
    "prompt_generator.lightweight_mlp_0.0": "injector.tune.0",
    "prompt_generator.lightweight_mlp_1.0": "injector.tune.1",
    "prompt_generator.shared_mlp": "injector.up",
}
OUTCOMES = ("image", "prompts", "output", "wide", "odd", "wide_high_pass", "odd_high_pass")


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return {name: value.double() for name, value in load_file(GOLDEN).items()}


def encoder_of(golden: dict[str, Tensor]) -> ImageEncoderViT:
    encoder = ImageEncoderViT(
        grid=(4, 4),
        patch_size=16,
        embed_dim=8,
        depth=2,
        num_heads=2,
        window_size=3,
        global_attn_indexes=(1,),
        out_channels=8,
    )
    encoder.injector = SamAdapter(8, depth=2, width=4, patch_size=16, rate=0.25)
    weights = {}
    for name, value in golden.items():
        if name in OUTCOMES:
            continue
        for theirs, ours in NAMES.items():
            name = name.replace(theirs, ours)
        weights[name] = value
    encoder.double().load_state_dict(weights)
    return encoder


def in_published_order(tokens: Tensor) -> Tensor:
    """The patch embedding (B, H, W, C) as the public code reads it: as if it were (B, C, H, W)."""
    B, H, W, C = tokens.shape
    return tokens.reshape(B, C, H, W).permute(0, 2, 3, 1)


def test_golden(golden):
    encoder = encoder_of(golden)
    encoder.injector.embed.register_forward_pre_hook(lambda _, inputs: in_published_order(*inputs))
    mean = torch.tensor([123.675, 116.28, 103.53], dtype=torch.float64).view(3, 1, 1)
    std = torch.tensor([58.395, 57.12, 57.375], dtype=torch.float64).view(3, 1, 1)
    images = (golden["image"] - mean) / std
    added = torch.stack(list(encoder.injector(images, encoder.patch_embed(images))))
    torch.testing.assert_close(added, golden["prompts"], rtol=0, atol=1e-10)
    torch.testing.assert_close(encoder(images), golden["output"], rtol=0, atol=1e-9)


def test_each_patch_gets_its_own_embedding():
    torch.manual_seed(0)
    module = SamAdapter(8, depth=1, width=4, patch_size=16, rate=0.25)
    images, tokens = torch.randn(2, 3, 48, 80), torch.randn(2, 3, 5, 8)
    changed = tokens.clone()
    changed[1, 2, 3] += 1
    (before,), (after,) = module(images, tokens), module(images, changed)
    differs = (before != after).any(-1)
    assert differs.nonzero().tolist() == [[1, 2, 3]]


@pytest.mark.parametrize("name", ["wide", "odd"])
def test_high_pass_golden(golden, name):
    filtered = high_pass(golden[name], 0.25)
    torch.testing.assert_close(filtered, golden[f"{name}_high_pass"], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("height", "width", "rate"),
    [(6, 6, 0.25), (5, 7, 0.25), (4, 20, 0.25), (21, 3, 0.5), (6, 9, 0.0), (5, 5, 0.9)],
)
def test_high_pass_by_definition(height, width, rate):
    """Also where one axis is over four times the other, where the reference's slice is empty."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(height, width, dtype=torch.float64, generator=generator)
    half = int(math.sqrt(height * width * rate) / 2)
    y, x = torch.arange(height).double(), torch.arange(width).double()
    total = torch.zeros(height, width, dtype=torch.complex128)
    for row in range(-(height // 2), height - height // 2):
        for column in range(-(width // 2), width - width // 2):
            if -half <= row < half and -half <= column < half:
                continue
            phase = row * y[:, None] / height + column * x / width
            wave = torch.exp(2j * math.pi * phase)
            total += wave * (image * wave.conj()).sum() / (height * width)
    torch.testing.assert_close(high_pass(image, rate), total.real.abs(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_high_pass_computes_half_precision_in_single(dtype):
    image = torch.randn(1, 3, 48, 80, generator=torch.Generator().manual_seed(0)).to(dtype)
    filtered = high_pass(image, 0.25)
    assert filtered.dtype == torch.float32
    torch.testing.assert_close(
        filtered.double(), high_pass(image.double(), 0.25), rtol=0, atol=1e-5
    )


def test_flat_image_has_no_details():
    assert high_pass(torch.full((1, 3, 32, 32), 0.7), 0.25).max() < 1e-6


def test_paper_count():
    with torch.device("meta"):
        sam = build_sam("vit_h", 1024)
        adapt(sam, "sam_adapter")
    assert sam.image_encoder.injector.up.in_features == 80
    assert sum(p.numel() for p in trainable_parameters(sam).values()) == 3_980_576


def test_start():
    torch.manual_seed(0)
    sam = build_sam("tiny", 64)
    images = torch.randint(0, 256, (1, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = sam.encode(images)
        adapt(sam, "sam_adapter", {"scale_factor": 1}, seed=1)
        after = sam.encode(images)
    injector = sam.image_encoder.injector
    tiny = BACKBONES["tiny"]
    he = (2 / (tiny.patch_size**2 * tiny.embed_dim)) ** 0.5
    assert injector.patches.weight.std().item() == pytest.approx(he, rel=0.05)
    assert injector.up.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not any(p.any() for n, p in injector.named_parameters() if n.endswith("bias"))
    assert not get_method("sam_adapter").identity
    assert not torch.allclose(before, after)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_reach_every_parameter(dtype, checkpointing):
    torch.manual_seed(0)
    sam = build_sam("tiny", (48, 80)).to(dtype)
    adapt(sam, "sam_adapter")
    sam.image_encoder.gradient_checkpointing = checkpointing
    images = torch.randint(0, 256, (2, 3, 48, 80), generator=torch.Generator().manual_seed(1))
    sam(images).masks.square().mean().backward()
    for name, parameter in trainable_parameters(sam).items():
        if name.startswith("image_encoder."):
            assert parameter.dtype == dtype
            assert parameter.grad is not None, name
            assert parameter.grad.any(), name


def test_gradcheck():
    torch.manual_seed(0)
    module = SamAdapter(3, depth=2, width=2, patch_size=16, rate=0.25).double()
    images = torch.randn(1, 3, 16, 32, dtype=torch.float64)
    tokens = torch.randn(1, 1, 2, 3, dtype=torch.float64, requires_grad=True)
    weights = [p for n, p in module.named_parameters() if n != "patches.weight"]

    def run(*_: Tensor) -> Tensor:  # gradcheck changes its inputs in place
        return torch.stack(list(module(images, tokens)))

    assert torch.autograd.gradcheck(run, (tokens, *weights))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scale_factor": 0}, "scale_factor: Input should be"),
        ({"rate": 1.0}, "rate: Input should be"),
        ({"rate": -0.1}, "rate: Input should be"),
    ],
)
def test_settings_are_checked(values, message):
    with pytest.raises(SettingsError, match=message):
        get_method("sam_adapter").parse(values)
    assert get_method("sam_adapter").parse({}) == SamAdapterSettings(scale_factor=16, rate=0.25)


def test_a_scale_factor_may_leave_no_channel():
    with pytest.raises(SettingsError, match="leaves no channel"):
        adapt(
            build_sam("tiny", 32), "sam_adapter", {"scale_factor": BACKBONES["tiny"].embed_dim + 1}
        )
