"""Mona against its reference.

`golden/mona.safetensors` holds weights, input, output and gradients of Leiyi-Hu/mona at commit
5deeac9f4fc5e788b7fa0132ec568cd256afca12: one `SwinTransformerBlock` of
`swin_transformer_mona.py` (8 channels, 2 heads, 4 x 4 windows on 6 x 7 tokens, so with padding),
float64, evaluation mode. Its position table is one that SAM's relative positions can express; see
`test_vpt.py`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from naslora.core.errors import SettingsError
from naslora.methods.mona import Mona, MonaSettings
from naslora.methods.registry import adapt, get_method, trainable_parameters
from naslora.sam.backbones import BACKBONES
from naslora.sam.building import build_sam
from naslora.sam.image_encoder import Block

WIDTH = BACKBONES["tiny"].embed_dim
GOLDEN = Path(__file__).parent / "golden" / "mona.safetensors"
NAMES = {
    "gammax": "gamma_x",
    "project1": "down",
    "project2": "up",
    "adapter_conv.conv1": "depthwise.0",
    "adapter_conv.conv2": "depthwise.1",
    "adapter_conv.conv3": "depthwise.2",
    "adapter_conv.projector": "pointwise",
}


def reference_weights(golden: dict[str, Tensor]) -> dict[str, Tensor]:
    weights = {}
    for name, value in golden.items():
        if name in ("input", "cotangent", "output") or name.endswith("gradient"):
            continue
        name = name.removeprefix("block.")
        name = name.replace("my_module_1", "after_attention").replace("my_module_2", "after_mlp")
        for theirs, ours in NAMES.items():
            name = name.replace(f".{theirs}", f".{ours}")
        weights[name] = value
    return weights


def test_golden():
    golden = {name: value.double() for name, value in load_file(GOLDEN).items()}
    block = Block(8, 2, (4, 4), 4)
    block.after_attention, block.after_mlp = Mona(8), Mona(8)
    block.double().eval().load_state_dict(reference_weights(golden))
    x = golden["input"].requires_grad_()
    y = block(x)
    torch.testing.assert_close(y, golden["output"], rtol=0, atol=1e-10)
    x_gradient, gamma_gradient = torch.autograd.grad(
        (y * golden["cotangent"]).sum(), (x, block.after_attention.gamma)
    )
    torch.testing.assert_close(x_gradient, golden["input_gradient"], rtol=0, atol=1e-8)
    expected = golden["my_module_1.gamma.gradient"]
    torch.testing.assert_close(gamma_gradient, expected, rtol=0, atol=1e-8)


def test_official_module_count():
    """15,023,488 with the decoder; the paper prints 17.08 M, which nothing natural gives."""
    with torch.device("meta"):
        sam = build_sam("vit_h", 1024)
        adapt(sam, "mona")
    parameters = trainable_parameters(sam)
    assert sum(p.numel() for p in parameters.values()) == 15_023_488
    in_encoder = [n for n in parameters if n.startswith("image_encoder.")]
    assert all(".after_attention." in n or ".after_mlp." in n for n in in_encoder)


def test_start():
    torch.manual_seed(0)
    sam = build_sam("tiny", 64).eval()
    images = torch.randint(0, 256, (1, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = sam.encode(images)
        adapt(sam, "mona", seed=1)
        after = sam.eval().encode(images)
    module = sam.image_encoder.blocks[0].after_mlp
    assert torch.equal(module.gamma, torch.full((WIDTH,), 1e-6))
    assert torch.equal(module.gamma_x, torch.ones(WIDTH))
    assert module.up.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert not module.up.bias.any()
    assert not get_method("mona").identity
    assert not torch.allclose(before, after)


def test_dropout_only_in_training():
    module = Mona(4, width=8, dropout=0.5)
    x = torch.randn(1, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    assert not torch.equal(module(x), module(x))
    module.eval()
    assert torch.equal(module(x), module(x))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_reach_every_parameter(checkpointing):
    torch.manual_seed(0)
    sam = build_sam("tiny", (48, 80))
    adapt(sam, "mona")
    sam.image_encoder.gradient_checkpointing = checkpointing
    images = torch.randint(0, 256, (1, 3, 48, 80), generator=torch.Generator().manual_seed(1))
    sam(images).masks.square().mean().backward()
    for name, parameter in trainable_parameters(sam).items():
        if name.startswith("image_encoder."):
            assert parameter.grad is not None, name
            assert parameter.grad.any(), name


def test_gradcheck():
    torch.manual_seed(0)
    module = Mona(3, width=2, dropout=0).double()
    with torch.no_grad():
        module.gamma.fill_(0.7)
    x = torch.randn(1, 2, 3, 3, dtype=torch.float64, requires_grad=True)

    def run(*_: Tensor) -> Tensor:  # gradcheck changes its inputs in place
        return module(x)

    assert torch.autograd.gradcheck(run, (x, *module.parameters()))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 0}, "width: Input should be"),
        ({"width": 6.5}, "width: Input should be"),
        ({"dropout": 1.0}, "dropout: Input should be"),
        ({"dropout": -0.1}, "dropout: Input should be"),
    ],
)
def test_settings_are_checked(values, message):
    with pytest.raises(SettingsError, match=message):
        get_method("mona").parse(values)
    assert get_method("mona").parse({}) == MonaSettings(width=64, dropout=0.1)
