"""What every registered method must do; a new method is covered by being registered."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from naslora.methods.auxiliary import collect_auxiliary_losses
from naslora.methods.merge import merge
from naslora.methods.registry import adapt, get_method, method_names, trainable_parameters
from naslora.methods.state import load_adapter, save_adapter
from naslora.nas.settings import PAPER_COUNT
from naslora.sam.backbones import BACKBONES
from naslora.sam.building import Sam

METHODS = method_names()
PATCH = BACKBONES["tiny"].patch_size
Build = Callable[..., Sam]
Draw = Callable[..., Tensor]

# Parameters of the SAM, besides the mask decoder, that a method trains. Others train new layers.
TRAINS_OLD = {"bitfit": r"image_encoder\..*bias", "scratch": r".*", "full_finetuning": r".*"}
# DoRA treats the norm of the changed weight as a constant, by definition.
INEXACT_GRADIENTS = {"dora"}


def merges(mode: str) -> list[str]:
    return [name for name in METHODS if mode in get_method(name).merges]


def predict(sam: Sam, images: Tensor) -> Tensor:
    with torch.no_grad():
        masks: Tensor = sam(images).masks
    return masks


@pytest.mark.parametrize("method", METHODS)
def test_starts_as_the_identity(method: str, plain: Build, images: Draw) -> None:
    sam = plain()
    before = predict(sam, images())
    adapt(sam, method)
    change = (predict(sam, images()) - before).abs().max() / before.abs().max()
    if get_method(method).identity:
        assert change <= 1e-5
    else:
        assert change > 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_trains_what_it_says(method: str, plain: Build) -> None:
    sam = plain()
    old = {name for name, _ in sam.named_parameters()}
    adapt(sam, method)
    names = set(trainable_parameters(sam))
    decoder = {name for name in names if name.startswith("mask_decoder.")}
    if get_method(method).trains_decoder:
        assert decoder == {
            name
            for name in old
            if name.startswith("mask_decoder.") and "iou_prediction_head" not in name
        }
    pattern = TRAINS_OLD.get(method, "(?!)")
    for name in (names - decoder) & old:
        assert re.fullmatch(pattern, name), f"{method} trains {name} of the frozen SAM"
    kept = {name for name, _ in sam.named_parameters()} - names
    assert kept <= old, f"new but frozen: {kept - old}"


@pytest.mark.parametrize("method", METHODS)
def test_a_step_changes_that_and_nothing_else(method: str, adapted: Build, images: Draw) -> None:
    sam = adapted(method).train()
    trained = trainable_parameters(sam)
    allowed = {*trained, *sam.adaptation.buffers}
    before = {name: tensor.clone() for name, tensor in sam.state_dict().items()}
    optimizer = torch.optim.Adam(sam.parameters(), lr=1e-3)
    loss = sam(images(2)).masks.square().mean()
    auxiliary = collect_auxiliary_losses(sam)
    (loss if auxiliary is None else loss + auxiliary).backward()
    optimizer.step()
    changed = {n for n, tensor in sam.state_dict().items() if not torch.equal(tensor, before[n])}
    assert changed <= allowed
    assert changed & set(trained)
    assert all(tensor.isfinite().all() for tensor in trained.values())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [(144, 112), (64, 192), (48, 48)])
def test_batches_and_sizes(
    method: str, size: tuple[int, int], adapted: Build, images: Draw
) -> None:
    sam = adapted(method, size=size)
    batch = images(3, size)
    masks = predict(sam, batch)
    assert masks.shape == (3, 1, size[0] * 4 // PATCH, size[1] * 4 // PATCH)
    for i in range(3):
        torch.testing.assert_close(
            predict(sam, batch[i : i + 1])[0], masks[i], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("tokens", [32, 64])
def test_square_grids(method: str, tokens: int, adapted: Build, images: Draw) -> None:
    size = (PATCH * tokens, PATCH * tokens)
    # A windowed and a global block; the other two take as long again.
    masks = predict(adapted(method, size=size, depth=2), images(1, size))
    assert masks.shape == (1, 1, 4 * tokens, 4 * tokens)
    assert masks.isfinite().all()


@pytest.mark.parametrize("method", METHODS)
def test_bfloat16(method: str, adapted: Build, images: Draw) -> None:
    sam = adapted(method, move=0.01)
    exact = predict(sam, images())
    with torch.autocast("cpu", torch.bfloat16):
        mixed = predict(sam, images())
    masks = predict(sam.to(torch.bfloat16), images())
    assert masks.dtype == torch.bfloat16
    for other in (mixed, masks):
        error = (other.float() - exact).abs().mean() / exact.abs().mean()
        assert error < 0.15


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_step_under_autocast(
    method: str, dtype: torch.dtype, adapted: Build, images: Draw
) -> None:
    """Gradients are finite, in float32, and about those of single precision."""
    gradients = []
    for mixed in (False, True):
        sam = adapted(method, move=0.01).train()
        torch.manual_seed(5)
        with torch.autocast("cpu", dtype, enabled=mixed):
            masks = sam(images(2)).masks
            auxiliary = collect_auxiliary_losses(sam)
        loss = masks.float().sigmoid().mean()
        (loss if auxiliary is None else loss + auxiliary.float()).backward()
        trained = trainable_parameters(sam).values()
        assert {p.grad.dtype for p in trained if p.grad is not None} == {torch.float32}
        gradients.append(torch.cat([p.grad.flatten() for p in trained if p.grad is not None]))
    exact, rounded = gradients
    assert rounded.isfinite().all()
    assert torch.nn.functional.cosine_similarity(rounded, exact, 0) > 0.95


@pytest.mark.parametrize("method", METHODS)
def test_adapts_a_model_in_bfloat16(method: str, plain: Build, images: Draw) -> None:
    sam = plain().to(torch.bfloat16)
    adapt(sam, method)
    assert {p.dtype for p in sam.parameters()} == {torch.bfloat16}
    assert predict(sam, images()).isfinite().all()


@pytest.mark.parametrize("method", METHODS)
def test_meta_device_has_the_same_parameters(method: str, plain: Build) -> None:
    sam = plain()
    adapt(sam, method)
    with torch.device("meta"):
        empty = plain()
    adapt(empty, method)
    assert {n: p.shape for n, p in trainable_parameters(sam).items()} == {
        n: p.shape for n, p in trainable_parameters(empty).items()
    }
    assert all(p.is_meta for p in empty.parameters())


@pytest.mark.parametrize("method", METHODS)
def test_seed_alone_decides_the_start(method: str, plain: Build) -> None:
    states = []
    for draws, seed in ((0, 3), (17, 3), (0, 4)):
        sam = plain()
        torch.manual_seed(draws)
        torch.randn(draws)
        state = torch.get_rng_state()
        adapt(sam, method, seed=seed)
        assert torch.equal(torch.get_rng_state(), state)
        states.append(sam.state_dict())
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name
    new = set(states[0]) - set(plain().state_dict())
    random = [n for n in new if len(states[0][n].unique()) > 1]
    if random:
        assert any(not torch.equal(states[0][name], states[2][name]) for name in random)


@pytest.mark.parametrize("method", METHODS)
def test_the_default_dtype_does_not_change_the_start(method: str, plain: Build) -> None:
    """Parameters and buffers, persistent or not, depend on the seed alone."""
    states = []
    for default in (torch.float32, torch.float64, torch.bfloat16):
        sam = plain()
        torch.set_default_dtype(default)
        try:
            adapt(sam, method, seed=3)
        finally:
            torch.set_default_dtype(torch.float32)
        states.append(dict(sam.named_parameters()) | dict(sam.named_buffers()))
    for state in states[1:]:
        for name, tensor in states[0].items():
            assert torch.equal(tensor, state[name]), name


@pytest.mark.parametrize("method", METHODS)
def test_state_round_trip(
    method: str, adapted: Build, plain: Build, images: Draw, tmp_path: Path
) -> None:
    sam = adapted(method).train()
    with torch.no_grad():
        sam(images(2))  # moves the running statistics of layers that have them
    sam.eval()
    save_adapter(sam, tmp_path / "adapter.safetensors")
    fresh = plain()
    load_adapter(fresh, tmp_path / "adapter.safetensors")
    assert torch.equal(predict(fresh, images()), predict(sam, images()))
    assert fresh.adaptation == sam.adaptation
    state = fresh.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in sam.state_dict().items())


@pytest.mark.parametrize("method", merges("exact"))
def test_merges_exactly(method: str, adapted: Build, plain: Build, images: Draw) -> None:
    sam = adapted(method)
    before = predict(sam, images(2))
    assert merge(sam) is sam
    after = predict(sam, images(2))
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-4)
    assert list(sam.state_dict()) == list(plain().state_dict())
    assert sam.adaptation is None
    merge(sam)
    assert torch.equal(predict(sam, images(2)), after)
    plain().load_state_dict(sam.state_dict())


@pytest.mark.parametrize("method", merges("collapsed"))
def test_collapses_exactly(method: str, adapted: Build, images: Draw) -> None:
    sam = adapted(method)
    before = predict(sam, images(2))
    merge(sam, "collapsed")
    torch.testing.assert_close(predict(sam, images(2)), before, atol=1e-5, rtol=1e-4)
    again = predict(merge(sam, "collapsed"), images(2))
    torch.testing.assert_close(again, before, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("method", merges("dense"))
def test_merges_densely(method: str, adapted: Build, plain: Build, images: Draw) -> None:
    sam = merge(adapted(method), "dense")
    assert list(sam.state_dict()) == list(plain().state_dict())
    masks = predict(sam, images())
    assert masks.isfinite().all()
    assert torch.equal(predict(merge(sam, "dense"), images()), masks)


@pytest.mark.parametrize("method", [name for name in METHODS if name not in INEXACT_GRADIENTS])
def test_gradients_are_those_of_the_outputs(method: str, adapted: Build, images: Draw) -> None:
    """The derivative along one direction, by finite differences in float64."""
    sam = adapted(method).double()
    generator = torch.Generator().manual_seed(0)
    parameters = list(trainable_parameters(sam).values())
    along = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
    weights: Tensor | None = None

    def loss() -> Tensor:
        nonlocal weights
        masks = sam(images()).masks
        if weights is None:
            weights = torch.randn(masks.shape, generator=generator, dtype=masks.dtype)
        return (masks * weights).sum()

    gradients = torch.autograd.grad(loss(), parameters, allow_unused=True)
    slope = sum(
        (g * d).sum().item() for g, d in zip(gradients, along, strict=True) if g is not None
    )
    step = 1e-7
    ends = []
    with torch.no_grad():
        for sign in (1, -1):
            for parameter, direction in zip(parameters, along, strict=True):
                parameter += sign * step * direction
            ends.append(loss().item())
            for parameter, direction in zip(parameters, along, strict=True):
                parameter -= sign * step * direction
    assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-4)


@pytest.mark.parametrize(
    ("method", "settings"), [(name, {}) for name in METHODS] + [("nas_lora", PAPER_COUNT)]
)
def test_gradient_checkpointing_changes_nothing(
    method: str, settings: dict[str, Any], adapted: Build, images: Draw
) -> None:
    """Outputs, gradients and running statistics are the same: no batch is counted twice."""
    steps = []
    for checkpointing in (False, True):
        sam = adapted(method, settings).train()
        sam.image_encoder.gradient_checkpointing = checkpointing
        torch.manual_seed(5)
        masks = sam(images(2)).masks
        masks.square().mean().backward()
        gradients = {n: p.grad for n, p in trainable_parameters(sam).items()}
        steps.append((masks.detach(), gradients, dict(sam.named_buffers())))
    (masks, gradients, buffers), (again, other_gradients, other_buffers) = steps
    assert torch.equal(masks, again)
    assert gradients.keys() == other_gradients.keys()
    for name, gradient in gradients.items():
        other = other_gradients[name]
        assert (gradient is None) == (other is None), name
        if gradient is not None and other is not None:
            torch.testing.assert_close(other, gradient, rtol=1e-4, atol=1e-7)
    for name, buffer in buffers.items():
        assert torch.equal(other_buffers[name], buffer), name
    counted = [int(b) for n, b in other_buffers.items() if n.endswith("num_batches_tracked")]
    assert set(counted) <= {1}
    assert bool(counted) == (settings.get("style") == "darts")
