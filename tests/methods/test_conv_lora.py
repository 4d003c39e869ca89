"""Conv-LoRA against AutoGluon's, and its parts against their definitions.

`golden/conv_lora.safetensors` was made once by `ConvLoRALinear` of autogluon/autogluon at commit
f34ebb4f664c7d632a8ea7db1de74bdfc64c3625 (`multimodal/src/autogluon/multimodal/models/
adaptation_layers.py`): 6 to 9 features, rank 3, scale 4, 8 experts, random weights everywhere,
float32. It holds 16 windows of 5 x 5 that choose every expert, and maps of 7 x 11 and 9 x 6, in
evaluation and in training with the noise that the router drew. Gradients are of
sum(output * cos(0, 1, 2, ...)) + 100 * loss. The reference goes through exp and log to combine its
experts, which costs it the last digits.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from naslora.core.errors import SettingsError
from naslora.methods.auxiliary import collect_auxiliary_losses
from naslora.methods.conv_lora import (
    ConvLoRASettings,
    ConvolutionExperts,
    convolve_at_scale,
    squared_variation,
)
from naslora.methods.layers import LowRankLinear
from naslora.methods.merge import merge
from naslora.methods.registry import adapt, get_method, trainable_parameters
from naslora.sam.building import Sam, build_sam

GOLDEN = Path(__file__).parent / "golden" / "conv_lora.safetensors"


def reference_name(name: str) -> str:
    name = name.removeprefix("branches.qkv.")
    name = name.replace("middle.gate", "lora_moe_gating.w_gate")
    name = name.replace("middle.noise", "lora_moe_gating.w_noise")
    if name.startswith("middle.experts."):
        _, _, index, kind = name.split(".")
        name = f"lora_moe_experts.{index}.0.{kind}"
    return name


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(GOLDEN)


@pytest.fixture
def layer(golden: dict[str, Tensor]) -> LowRankLinear:
    """The layer of the golden file."""
    layer = LowRankLinear(
        nn.Linear(6, 9),
        3,
        scale=4.0,
        middle=lambda: ConvolutionExperts(3, 8, 1e-2),
        pointwise=False,
    )
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            parameter.copy_(golden[f"weights.{reference_name(name)}"])
    return layer.eval()


def experts_of(layer: LowRankLinear) -> ConvolutionExperts:
    middle = layer.branches["qkv"].middle
    assert isinstance(middle, ConvolutionExperts)
    return middle


def fix_noise(monkeypatch: pytest.MonkeyPatch, noise: Tensor) -> None:
    monkeypatch.setattr(torch, "randn_like", lambda like: noise.to(like))


@pytest.mark.parametrize("case", ["windows_eval", "global_eval"])
def test_equals_autogluon_in_evaluation(
    case: str, layer: LowRankLinear, golden: dict[str, Tensor]
) -> None:
    x = golden[f"{case}.input"]
    torch.testing.assert_close(layer(x), golden[f"{case}.output"], rtol=1e-5, atol=1e-5)
    z = F.linear(x, layer.branches["qkv"].lora_A)
    choice, loss = experts_of(layer).route(z.mean((1, 2)))
    assert choice.tolist() == golden[f"{case}.expert"].tolist()
    assert loss is None


@pytest.mark.parametrize("case", ["windows_train", "global_train"])
def test_equals_autogluon_in_training(
    case: str,
    layer: LowRankLinear,
    golden: dict[str, Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fix_noise(monkeypatch, golden[f"{case}.noise"])
    layer.train()
    x = golden[f"{case.replace('windows_train', 'windows_eval')}.input"].requires_grad_()
    y = layer(x)
    loss = collect_auxiliary_losses(layer)
    assert loss is not None
    torch.testing.assert_close(y, golden[f"{case}.output"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(loss, golden[f"{case}.loss"], rtol=1e-5, atol=1e-7)
    cotangent = torch.cos(torch.arange(y.numel(), dtype=torch.float32)).reshape(y.shape)
    ((y * cotangent).sum() + 100 * loss).backward()
    torch.testing.assert_close(x.grad, golden[f"{case}.grad.input"], rtol=1e-4, atol=1e-4)
    for name, parameter in layer.named_parameters():
        expected = golden.get(f"{case}.grad.{reference_name(name)}")
        if expected is None and "experts" in name:
            assert parameter.grad is None, f"{name} was not chosen, and has a gradient"
        elif expected is not None:
            torch.testing.assert_close(
                parameter.grad, expected, rtol=1e-4, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
            )


def test_golden_file_reaches_every_expert(golden: dict[str, Tensor]) -> None:
    assert set(golden["windows_eval.expert"].tolist()) == set(range(8))
    assert set(golden["windows_train.expert"].tolist()) == set(range(8))


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    ratio=st.integers(1, 11),
    seed=st.integers(0, 99),
)
def test_scales_are_those_of_interpolation(height: int, width: int, ratio: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    x, weight, bias = draw(2, 3, height, width), draw(3, 3, 3, 3), draw(3)
    large = F.interpolate(x, size=(height * ratio, width * ratio), mode="bicubic")
    large = F.gelu(F.conv2d(large, weight, bias, padding=1))
    expected = F.interpolate(large, size=(height, width), mode="bicubic")
    torch.testing.assert_close(
        convolve_at_scale(x, weight, bias, ratio), expected, rtol=1e-10, atol=1e-10
    )


def test_starts_as_the_frozen_layer(plain: Callable[..., Sam], images: Callable) -> None:
    sam = plain()
    before = sam(images(2)).masks
    adapt(sam, "conv_lora")
    for mode in (True, False):
        assert torch.equal(sam.train(mode)(images(2)).masks, before)


def test_count_of_the_paper() -> None:
    with torch.device("meta"):
        sam = build_sam("vit_h", 1024)
    adapt(sam, "conv_lora")
    trained = trainable_parameters(sam)
    assert sum(p.numel() for p in trained.values()) == 4_020_096
    assert sum(p.numel() for n, p in trained.items() if ".middle." in n) == 32 * 720


@pytest.mark.parametrize("training", [False, True])
def test_gradients_in_float64(training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    experts = ConvolutionExperts(2, 5, 0.5).double().train(training)
    fix_noise(monkeypatch, torch.randn(6, 5))
    with torch.no_grad():
        for parameter in experts.parameters():
            parameter.normal_()
    names = list(dict(experts.named_parameters()))

    def run(z: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        y = torch.func.functional_call(experts, dict(zip(names, values, strict=True)), z)
        return (y,) if experts.auxiliary_loss is None else (y, experts.auxiliary_loss)

    z = torch.randn(6, 3, 4, 2, dtype=torch.float64, requires_grad=True)
    values = [parameter.detach().requires_grad_() for parameter in experts.parameters()]
    assert torch.autograd.gradcheck(run, (z, *values), atol=1e-7)


def test_router_learns_from_the_balance_alone(layer: LowRankLinear) -> None:
    torch.manual_seed(0)
    layer.train()
    experts = experts_of(layer)
    y = layer(torch.randn(4, 5, 5, 6))
    router = [experts.gate, experts.noise]
    loss = collect_auxiliary_losses(layer)
    assert loss is not None
    assert collect_auxiliary_losses(layer) is None
    assert not any(g.any() for g in torch.autograd.grad(y.sum(), router, retain_graph=True))
    assert all(g.abs().sum() > 0 for g in torch.autograd.grad(loss, router))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_trains_in_parallel(
    checkpointing: bool, adapted: Callable[..., Sam], images: Callable, tmp_path: Path
) -> None:
    """The loss is no output of the model, and some experts are not chosen."""
    sam = adapted("conv_lora").train()
    sam.image_encoder.gradient_checkpointing = checkpointing
    decode = sam.decode
    sam.decode = lambda embeddings: decode(embeddings).masks
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        parallel = DistributedDataParallel(sam, find_unused_parameters=True)
        for _ in range(2):
            masks = parallel(images(1))
            (masks.square().mean() + collect_auxiliary_losses(parallel)).backward()
    finally:
        torch.distributed.destroy_process_group()
    assert sam.image_encoder.blocks[1].attn.qkv.branches["qkv"].middle.gate.grad.any()


def test_no_loss_outside_training(layer: LowRankLinear) -> None:
    layer.train()(torch.randn(4, 5, 5, 6))
    layer.eval()(torch.randn(4, 5, 5, 6))
    assert collect_auxiliary_losses(layer) is None


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.floats(0.1, 100), min_size=2, max_size=9),
    st.floats(0.1, 10),
)
def test_balance_does_not_see_the_scale(loads: list[float], factor: float) -> None:
    x = torch.tensor(loads, dtype=torch.float64)
    torch.testing.assert_close(squared_variation(factor * x), squared_variation(x))
    assert squared_variation(x) >= 0
    even = torch.full_like(x, factor)
    assert squared_variation(even) < 1e-20
    alone = torch.zeros_like(x)
    alone[0] = factor
    assert squared_variation(alone).item() == pytest.approx(len(loads))


def test_load_is_the_chance_to_win(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw an expert's noise again many times, with the noise of the others kept."""
    torch.manual_seed(0)
    experts = ConvolutionExperts(3, 4, 1.0).double()
    with torch.no_grad():
        experts.gate.normal_()
        experts.noise.normal_()
    context, noise = torch.randn(5, 3).double(), torch.randn(5, 4).double()
    fix_noise(monkeypatch, noise)
    choice, loss = experts.route(context)
    clean = context @ experts.gate
    deviation = F.softplus(context @ experts.noise) + 1e-2
    noisy = clean + noise * deviation
    assert torch.equal(choice, noisy.argmax(1))
    load = torch.zeros(4, dtype=torch.float64)
    draws = torch.randn(200_000, generator=torch.Generator().manual_seed(1)).double()
    for n in range(5):
        for e in range(4):
            others = torch.cat([noisy[n, :e], noisy[n, e + 1 :]])
            load[e] += (clean[n, e] + draws * deviation[n, e] > others.max()).double().mean()
    importance = torch.tensor([float((choice == e).sum()) for e in range(4)]).double()
    expected = squared_variation(importance) + squared_variation(load)
    torch.testing.assert_close(loss, expected, rtol=1e-2, atol=1e-3)


def test_each_window_is_routed_by_itself(layer: LowRankLinear, golden: dict[str, Tensor]) -> None:
    x = golden["windows_eval.input"]
    together = layer(x)
    torch.testing.assert_close(
        torch.cat([layer(window) for window in x.split(1)]), together, rtol=1e-5, atol=1e-5
    )
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(layer(x[order]), together[order], rtol=1e-5, atol=1e-5)


def test_computes_chosen_experts_only(
    layer: LowRankLinear, golden: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, int]] = []

    def watch(x: Tensor, weight: Tensor, bias: Tensor, ratio: int) -> Tensor:
        calls.append((ratio, len(x)))
        return convolve_at_scale(x, weight, bias, ratio)

    monkeypatch.setattr("naslora.methods.conv_lora.convolve_at_scale", watch)
    layer(golden["windows_eval.input"][:6])
    chosen = golden["windows_eval.expert"][:6].tolist()
    assert calls == [(e + 1, chosen.count(e)) for e in sorted(set(chosen))]


def test_checkpointing_repeats_the_noise(adapted: Callable[..., Sam], images: Callable) -> None:
    results = []
    for checkpointing in (False, True):
        sam = adapted("conv_lora").train()
        sam.image_encoder.gradient_checkpointing = checkpointing
        torch.manual_seed(5)
        masks = sam(images(2)).masks
        loss = collect_auxiliary_losses(sam)
        (masks.square().mean() + loss).backward()
        trained = trainable_parameters(sam)
        results.append((loss, {n: p.grad for n, p in trained.items()}))
    torch.testing.assert_close(results[0], results[1])
    gates = [g for n, g in results[1][1].items() if n.endswith(".gate")]
    assert len(gates) == 4
    assert all(g.abs().sum() > 0 for g in gates)


def test_trains_after_inference_mode() -> None:
    experts = ConvolutionExperts(3, 2, 1e-2)
    with torch.no_grad():
        experts.experts[0].weight.zero_()
        experts.gate[:, 1] = 1
    z = torch.ones(1, 17, 3, 3)
    with torch.inference_mode():
        experts.eval()(z)
    experts(z).sum().backward()
    assert experts.experts[1].weight.grad is not None


def test_bfloat16_computes_in_float32(layer: LowRankLinear, golden: dict[str, Tensor]) -> None:
    x = golden["windows_eval.input"]
    experts = experts_of(layer)
    z = F.linear(x, layer.branches["qkv"].lora_A).to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = experts(z)
    assert mixed.dtype == torch.bfloat16
    assert torch.equal(mixed, experts(z.float()).to(torch.bfloat16))


def test_is_no_plain_layer(adapted: Callable[..., Sam]) -> None:
    with pytest.raises(SettingsError, match="no merge"):
        merge(adapted("conv_lora"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rank": 0}, "rank"),
        ({"experts": 1}, "experts"),
        ({"experts": 2.5}, "experts"),
        ({"load_balance": -1}, "load_balance"),
        ({"load_balance": float("nan")}, "load_balance"),
    ],
)
def test_refuses_settings(values: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        get_method("conv_lora").parse(values)


def test_paper_defaults() -> None:
    assert ConvLoRASettings() == ConvLoRASettings(rank=3, experts=8, load_balance=1e-2)
