"""VeRA against HF peft and against its formula."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from naslora.core.errors import SettingsError
from naslora.methods.layers import PROJECTIONS
from naslora.methods.registry import adapt, get_method, trainable_parameters
from naslora.methods.vera import SharedProjections, VeRALinear, VeRASettings
from naslora.sam.backbones import BACKBONES
from naslora.sam.building import Sam, build_sam

CHOICES = [None, PROJECTIONS, ("v", "q"), ("k",)]


def moved(
    projections: tuple[str, ...] | None, rank: int = 7, dtype: torch.dtype = torch.float64
) -> VeRALinear:
    """A layer from 10 to 3 * 4 features whose vectors have moved."""
    torch.manual_seed(0)
    outputs = 12 if projections is None else 4
    shared = SharedProjections(10, outputs, rank, 0).to(dtype)
    layer = VeRALinear(nn.Linear(10, 12).to(dtype), shared, projections)
    layer.weight.requires_grad_(False)
    layer.bias.requires_grad_(False)
    with torch.no_grad():
        for parameter in trainable_parameters(layer).values():
            parameter += torch.randn_like(parameter)
    return layer


def force(monkeypatch: pytest.MonkeyPatch, dense: bool) -> None:
    monkeypatch.setattr(VeRALinear, "_is_dense_cheaper", lambda self, tokens: dense)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-13)], ids=["f32", "f64"]
)
def test_equals_peft(
    dense: bool,
    fused: bool,
    dtype: torch.dtype,
    tolerance: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Outputs and gradients; with q, k and v apart they are three layers of peft's."""
    from peft import VeraConfig, get_peft_model

    force(monkeypatch, dense)
    ours = moved(None if fused else PROJECTIONS, dtype=dtype)
    parts = 1 if fused else 3
    size = 12 // parts
    model = nn.Sequential(*(nn.Linear(10, size) for _ in range(parts))).to(dtype)
    model.config = {"model_type": "custom"}
    names = [str(i) for i in range(parts)]
    config = VeraConfig(r=7, target_modules=names, d_initial=0.1, projection_prng_key=0)
    theirs = get_peft_model(model, config).to(dtype).base_model.model
    # The same seed gives the same matrices.
    assert torch.equal(theirs[0].vera_A["default"].to(dtype), ours.shared.A)
    assert torch.equal(theirs[0].vera_B["default"].to(dtype), ours.shared.B)
    vectors = [(layer.vera_lambda_d["default"], layer.vera_lambda_b["default"]) for layer in theirs]
    with torch.no_grad():
        for i, layer in enumerate(theirs):
            layer.base_layer.weight.copy_(ours.weight[i * size : (i + 1) * size])
            layer.base_layer.bias.copy_(ours.bias[i * size : (i + 1) * size])
            vectors[i][0].copy_(ours.lambda_d[i])
            vectors[i][1].copy_(ours.lambda_b[i])
    x = torch.randn(2, 5, 3, 10, dtype=dtype)
    cotangent = torch.randn(2, 5, 3, 12, dtype=dtype) / 30
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    outputs = [ours(inputs[0]), torch.cat([layer(inputs[1]) for layer in theirs], -1)]
    for output in outputs:
        (output * cotangent).sum().backward()
    close = {"rtol": tolerance, "atol": tolerance}
    torch.testing.assert_close(outputs[0], outputs[1], **close)
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, **close)
    for i, (d, b) in enumerate(vectors):
        torch.testing.assert_close(ours.lambda_d.grad[i], d.grad, **close)
        torch.testing.assert_close(ours.lambda_b.grad[i], b.grad, **close)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("projections", CHOICES)
def test_equals_its_formula(
    dense: bool, projections: tuple[str, ...] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    force(monkeypatch, dense)
    layer = moved(projections)
    x = torch.randn(4, 10, dtype=torch.float64)
    A, B = layer.shared.A, layer.shared.B
    expected = (x @ layer.weight.T + layer.bias).detach()
    starts = [0] if projections is None else [4 * "qkv".index(name) for name in projections]
    for i, start in enumerate(starts):
        change = layer.lambda_b[i] * (B @ (layer.lambda_d[i, :, None] * (A @ x.T))).T
        expected[:, start : start + len(B)] += change.detach()
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)
    merged = layer.merged()
    assert type(merged) is nn.Linear
    torch.testing.assert_close(merged(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("projections", CHOICES)
def test_gradients_in_float64(
    dense: bool, projections: tuple[str, ...] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    force(monkeypatch, dense)
    layer = moved(projections, rank=3)
    x = torch.randn(2, 10, dtype=torch.float64, requires_grad=True)

    def run(x: Tensor, d: Tensor, b: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"lambda_d": d, "lambda_b": b}, x)

    values = [p.detach().requires_grad_() for p in (layer.lambda_d, layer.lambda_b)]
    assert torch.autograd.gradcheck(run, (x, *values))


@settings(max_examples=50, deadline=None)
@given(tokens=st.integers(1, 10_000), rank=st.integers(1, 3000))
def test_takes_the_cheaper_way(tokens: int, rank: int) -> None:
    """Count the products of both ways on ViT-H."""
    with torch.device("meta"):
        shared = SharedProjections(8, 8, 1, 0)
        shared.A, shared.B = torch.empty(rank, 1280), torch.empty(1280, rank)
        layer = VeRALinear(nn.Linear(1280, 3840), shared)
    factors = tokens * 1280 * rank + 3 * tokens * rank * 1280
    dense = 3 * 1280 * rank * 1280 + tokens * 1280 * 3840
    assert layer._is_dense_cheaper(tokens) == (dense < factors)


@pytest.mark.parametrize("projections", CHOICES)
def test_starts_as_the_frozen_layer(
    projections: tuple[str, ...] | None, plain: Callable[..., Sam], images: Callable
) -> None:
    sam = plain()
    before = sam(images(2)).masks
    adapt(sam, "vera", {"rank": 16, "projections": projections})
    assert torch.equal(sam(images(2)).masks, before)


@pytest.mark.parametrize(
    ("values", "count", "vectors"),
    [({}, 3_825_024, 319_488), ({"projections": None}, 3_693_952, 188_416)],
)
def test_counts(values: dict, count: int, vectors: int) -> None:
    with torch.device("meta"):
        sam = build_sam("vit_h", 1024)
    adapt(sam, "vera", values)
    trained = trainable_parameters(sam)
    assert sum(p.numel() for p in trained.values()) == count
    assert sum(p.numel() for n, p in trained.items() if "lambda" in n) == vectors


def test_matrices_exist_once_and_are_not_saved(plain: Callable[..., Sam]) -> None:
    sam = plain()
    adapt(sam, "vera", {"rank": 16})
    for model in (sam, sam.to(torch.float64), copy.deepcopy(sam)):
        layers = [block.attn.qkv for block in model.image_encoder.blocks]
        assert len({layer.shared.A.data_ptr() for layer in layers}) == 1
        assert len({layer.shared.B.data_ptr() for layer in layers}) == 1
        assert layers[0].shared.A.dtype == layers[0].weight.dtype
        assert [n for n, _ in model.named_buffers() if "shared" in n] == [
            "image_encoder.blocks.0.attn.qkv.shared.A",
            "image_encoder.blocks.0.attn.qkv.shared.B",
        ]
        assert not [name for name in model.state_dict() if "shared" in name]


def test_matrices_depend_on_their_seed_alone(plain: Callable[..., Sam]) -> None:
    def matrix(projection_seed: int, seed: int) -> Tensor:
        sam = plain()
        adapt(sam, "vera", {"rank": 16, "projection_seed": projection_seed}, seed)
        return sam.image_encoder.blocks[0].attn.qkv.shared.A

    assert torch.equal(matrix(0, 0), matrix(0, 1))
    assert not torch.equal(matrix(0, 0), matrix(1, 0))
    bound = (6 / BACKBONES["tiny"].embed_dim) ** 0.5
    assert 0.99 * bound < matrix(0, 0).abs().max() <= bound


def test_settings() -> None:
    assert VeRASettings() == VeRASettings(rank=2048, projections=("q", "k", "v"), d_initial=0.1)
    for values, name in (
        ({"rank": 0}, "rank"),
        ({"projections": ["x"]}, "projections"),
        ({"d_initial": 0}, "d_initial"),
        ({"d_initial": float("nan")}, "d_initial"),
        ({"projection_seed": -1}, "projection_seed"),
        ({"layers": []}, "layers"),
    ):
        with pytest.raises(SettingsError, match=name):
            get_method("vera").parse(values)
    assert get_method("vera").parse({"projections": ["q", "v"]}).projections == ("q", "v")
