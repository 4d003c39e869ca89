"""DoRA against HF peft and against its formula."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from naslora.core.errors import SettingsError
from naslora.methods.dora import DoRALinear, DoRASettings
from naslora.methods.registry import adapt, get_method, trainable_parameters
from naslora.sam.building import Sam, build_sam


def moved(magnitude: str, scale: float = 1.5, dtype: torch.dtype = torch.float64, **values):
    """A layer from 10 to 12 features whose parameters have all moved."""
    torch.manual_seed(0)
    layer = DoRALinear(nn.Linear(10, 12).to(dtype), 3, scale, magnitude=magnitude, **values)
    layer.weight.requires_grad_(False)
    layer.bias.requires_grad_(False)
    with torch.no_grad():
        for parameter in trainable_parameters(layer).values():
            parameter += 0.3 * torch.randn_like(parameter)
    return layer


def by_definition(layer: DoRALinear, scale: float, dim: int) -> Tensor:
    """The weight m V / |V|, from loops over the columns (dim 0) or rows (dim 1) of V."""
    weight = layer.weight.clone()
    for name, branch in layer.named_branches():
        part = {"qkv": slice(0, 12), "q": slice(0, 4), "k": slice(4, 8), "v": slice(8, 12)}[name]
        weight[part] += scale * (branch.lora_B @ branch.lora_A)
    vectors = weight.unbind(1 - dim)
    scaled = [
        m * vector / sum(value**2 for value in vector) ** 0.5
        for m, vector in zip(layer.magnitude, vectors, strict=True)
    ]
    return torch.stack(scaled, 1 - dim)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-13)], ids=["f32", "f64"]
)
def test_equals_peft(dtype: torch.dtype, tolerance: float) -> None:
    """Outputs and gradients of one magnitude per output, with alpha / r = 1.5."""
    from peft import LoraConfig, get_peft_model

    ours = moved("output", dtype=dtype)
    model = nn.Sequential(nn.Linear(10, 12).to(dtype))
    config = LoraConfig(r=3, lora_alpha=4.5, target_modules=["0"], use_dora=True)
    theirs = get_peft_model(model, config).base_model.model[0].to(dtype)
    branch = ours.branches["qkv"]
    pairs = {
        "A": (branch.lora_A, theirs.lora_A["default"].weight),
        "B": (branch.lora_B, theirs.lora_B["default"].weight),
        "m": (ours.magnitude, theirs.lora_magnitude_vector["default"].weight),
    }
    with torch.no_grad():
        theirs.base_layer.weight.copy_(ours.weight)
        theirs.base_layer.bias.copy_(ours.bias)
        for our, their in pairs.values():
            their.copy_(our)
    x = torch.randn(2, 5, 3, 10, dtype=dtype)
    cotangent = torch.randn(2, 5, 3, 12, dtype=dtype) / 30
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    outputs = [layer(value) for layer, value in zip((ours, theirs), inputs, strict=True)]
    for output in outputs:
        (output * cotangent).sum().backward()
    # 1e-6 of values of order one; rtol covers the few larger ones.
    close = {"rtol": tolerance, "atol": tolerance}
    torch.testing.assert_close(outputs[0], outputs[1], **close)
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, **close)
    for name, (our, their) in pairs.items():
        torch.testing.assert_close(our.grad, their.grad, **close, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("projections", [None, ("v",), ("q", "k", "v")])
@pytest.mark.parametrize(("magnitude", "dim"), [("input", 0), ("output", 1)])
def test_equals_its_formula(magnitude: str, dim: int, projections: tuple[str, ...] | None) -> None:
    layer = moved(magnitude, projections=projections)
    weight = by_definition(layer, 1.5, dim)
    x = torch.randn(4, 10, dtype=torch.float64)
    expected = x @ weight.T + layer.bias
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)
    merged = layer.merged()
    assert type(merged) is nn.Linear
    torch.testing.assert_close(merged(x), expected, rtol=1e-12, atol=1e-12)
    # What the magnitudes are: the lengths of the columns or rows of the merged weight.
    torch.testing.assert_close(merged.weight.norm(dim=dim), layer.magnitude.abs().detach())


@pytest.mark.parametrize("magnitude", ["input", "output"])
def test_gradient_takes_the_norm_for_constant(
    magnitude: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = moved(magnitude)
    norm = layer._norm(layer._direction())
    x = torch.randn(3, 10, dtype=torch.float64, requires_grad=True)
    names = list(trainable_parameters(layer))

    def run(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), x)

    values = tuple(p.detach().requires_grad_() for p in trainable_parameters(layer).values())
    gradients = torch.autograd.grad(run(x, *values).sum(), (x, *values))
    monkeypatch.setattr(DoRALinear, "_norm", lambda self, weight: norm)
    assert torch.autograd.gradcheck(run, (x, *values))
    constant = torch.autograd.grad(run(x, *values).sum(), (x, *values))
    torch.testing.assert_close(gradients, constant)


@pytest.mark.parametrize("magnitude", ["input", "output"])
@pytest.mark.parametrize("autocast", [False, True])
def test_starts_as_the_frozen_layer(magnitude: str, autocast: bool) -> None:
    torch.manual_seed(0)
    base = nn.Linear(40, 60)
    layer = DoRALinear(base, 3, magnitude=magnitude)
    x = torch.randn(5, 40)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        assert torch.equal(layer(x), base(x))


def test_small_changes_survive_bfloat16() -> None:
    """A magnitude 0.1 % up is below bfloat16's step at 1, and moves the output all the same."""
    torch.manual_seed(0)
    layer = DoRALinear(nn.Linear(64, 6, bias=False), 1)
    x = torch.rand(4096, 64)  # as the norm before qkv gives it, in float32
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        before = layer(x).double().abs().mean()
        layer.magnitude *= 1.001
        change = layer(x).double().abs().mean() / before - 1
    assert change.item() == pytest.approx(1e-3, rel=0.3)


@pytest.mark.parametrize("magnitude", ["input", "output"])
def test_zero_weights_stay_finite(magnitude: str) -> None:
    base = nn.Linear(4, 6)
    nn.init.zeros_(base.weight)
    layer = DoRALinear(base, 2, magnitude=magnitude)
    y = layer(torch.randn(3, 4))
    y.sum().backward()
    assert torch.equal(y, base.bias.expand(3, -1))
    assert all(p.grad.isfinite().all() for p in layer.parameters() if p.grad is not None)


@pytest.mark.parametrize(("magnitude", "count"), [("input", 4_038_016), ("output", 4_119_936)])
def test_counts(magnitude: str, count: int) -> None:
    with torch.device("meta"):
        sam = build_sam("vit_h", 1024)
    adapt(sam, "dora", {"magnitude": magnitude})
    assert sum(p.numel() for p in trainable_parameters(sam).values()) == count


def test_adapts_chosen_blocks(plain: Callable[..., Sam]) -> None:
    sam = plain()
    adapt(sam, "dora", {"layers": [1, 3], "rank": 2})
    adapted = [isinstance(block.attn.qkv, DoRALinear) for block in sam.image_encoder.blocks]
    assert adapted == [False, True, False, True]


def test_settings() -> None:
    assert DoRASettings() == DoRASettings(rank=3, magnitude="input")
    for values, name in (({"rank": 0}, "rank"), ({"magnitude": "row"}, "magnitude")):
        with pytest.raises(SettingsError, match=name):
            get_method("dora").parse(values)
