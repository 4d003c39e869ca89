"""The cell: its formula, its two forward paths, and its parameters."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from naslora.nas.cell import (
    NASCell,
    architecture_parameters,
    operation_shares,
    selected_channels,
    weight_parameters,
)
from naslora.nas.settings import OPERATIONS, CellSettings

DOUBLE = torch.float64


def make(seed: int = 0, width: int = 3, dtype: torch.dtype = DOUBLE, **values: object) -> NASCell:
    torch.manual_seed(seed)
    cell = NASCell(width, CellSettings(**values))  # type: ignore[arg-type]
    nn.init.normal_(cell.alpha)
    return cell.to(dtype)


def both(cell: NASCell, x: Tensor) -> tuple[Tensor, Tensor]:
    """The fused and the naive output."""
    cell.fused = True
    fused = cell(x)
    cell.fused = False
    return fused, cell(x)


@pytest.mark.parametrize("side", ["first", "last"])
@pytest.mark.parametrize(("ratio", "count"), [(1.0, 3), (2 / 3, 2), (1 / 3, 1)])
def test_is_the_mixture(ratio: float, count: int, side: str) -> None:
    cell = make(ratio=ratio, channels=side)
    x = torch.randn(2, 6, 5, 3, dtype=DOUBLE)
    chosen = list(range(3))[:count] if side == "first" else list(range(3))[3 - count :]
    others = [channel for channel in range(3) if channel not in chosen]
    inside = x[..., chosen].permute(0, 3, 1, 2)
    weights = cell.alpha.exp() / cell.alpha.exp().sum()
    mixed = sum(w * o(inside) for w, o in zip(weights, cell.operations, strict=True))
    assert isinstance(mixed, Tensor)
    y = cell(x)
    torch.testing.assert_close(y[..., chosen], mixed.permute(0, 2, 3, 1))
    assert torch.equal(y[..., others], x[..., others])


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (DOUBLE, 1e-10)])
def test_paths_agree_at_every_window_size(depth: int, dtype: torch.dtype, bound: float) -> None:
    cell = make(dtype=dtype, ratio=2 / 3, depth=depth)
    for height in range(1, 21):
        x = torch.randn(2, height, 1 + height * 7 % 20, 3, dtype=dtype)
        fused, naive = both(cell, x)
        assert (fused - naive).abs().max() <= bound


subsets = st.lists(st.sampled_from(OPERATIONS), min_size=1, unique=True)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    width=st.integers(1, 5),
    size=st.tuples(st.integers(1, 15), st.integers(1, 15)),
    ratio=st.sampled_from([1.0, 2 / 3, 1 / 3]),
    operations=subsets,
    depth=st.sampled_from([1, 2]),
    count_padding=st.booleans(),
)
def test_paths_agree_in_outputs_and_gradients(
    seed: int,
    width: int,
    size: tuple[int, int],
    ratio: float,
    operations: list[str],
    depth: int,
    count_padding: bool,
) -> None:
    options = {"depth": depth, "count_padding": count_padding, "operations": operations}
    cell = make(seed, width, ratio=ratio, **options)
    x = torch.randn(2, *size, width, dtype=DOUBLE, requires_grad=True)
    fused, naive = both(cell, x)
    torch.testing.assert_close(fused, naive, atol=1e-10, rtol=0)
    weights = torch.randn_like(fused)
    inputs = [x, *cell.parameters()]
    gradients = [
        torch.autograd.grad((y * weights).sum(), inputs, allow_unused=True, materialize_grads=True)
        for y in (fused, naive)
    ]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=1e-10)


def test_every_parameter_gets_a_gradient() -> None:
    cell = make()
    cell(torch.randn(1, 7, 7, 3, dtype=DOUBLE)).square().sum().backward()
    for name, parameter in cell.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("style", ["linear", "darts"])
def test_gradcheck(style: str) -> None:
    cell = make(ratio=2 / 3, style=style).eval()
    x = torch.randn(1, 4, 5, 3, dtype=DOUBLE, requires_grad=True)
    names = [name for name, _ in cell.named_parameters()]

    def call(x: Tensor, *values: Tensor) -> Tensor:
        y: Tensor = torch.func.functional_call(cell, dict(zip(names, values, strict=True)), (x,))
        return y

    assert torch.autograd.gradcheck(call, (x, *cell.parameters()), fast_mode=True)


def test_autocast_mixes_the_kernel_in_full_precision() -> None:
    cell = make(dtype=torch.float32, depth=2)
    x = torch.randn(1, 9, 9, 3)
    kernel, _ = cell.decompose(cell.operation_weights())
    with torch.autocast("cpu", torch.bfloat16):
        under, _ = cell.decompose(cell.operation_weights())
        y = cell(x)
    assert kernel is not None
    assert under is not None
    assert torch.equal(kernel, under)
    torch.testing.assert_close(y.float(), cell(x), atol=0.03, rtol=0.03)


def test_alpha_starts_near_uniform() -> None:
    torch.manual_seed(0)
    alphas = torch.cat([NASCell(1).alpha.detach() for _ in range(400)])
    assert alphas.std().item() == pytest.approx(1e-3, rel=0.05)
    assert alphas.mean().abs() < 1e-4
    shares = NASCell(3).operation_weights()
    torch.testing.assert_close(shares, torch.full((8,), 1 / 8), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("channels", "ratio", "selected"),
    [
        (3, 1, 3),
        (3, 2 / 3, 2),
        (3, 0.67, 2),
        (3, 0.6667, 2),
        (3, 1 / 3, 1),
        (3, 0.01, 1),
        (6, 2 / 3, 4),
        (12, 2 / 3, 8),
        (24, 2 / 3, 16),
        (3, 0.5, 2),
        (4, 0.3, 2),
    ],
)
def test_selected_channels(channels: int, ratio: float, selected: int) -> None:
    assert selected_channels(channels, ratio) == selected


def test_parameters_are_told_apart() -> None:
    model = nn.ModuleDict({"first": NASCell(2), "second": NASCell(2), "rest": nn.Linear(2, 2)})
    model["rest"].weight.requires_grad_(False)  # type: ignore[union-attr]
    alphas = architecture_parameters(model)
    assert [id(p) for p in alphas] == [id(model["first"].alpha), id(model["second"].alpha)]
    weights = weight_parameters(model)
    trainable = [p for p in model.parameters() if p.requires_grad]
    assert len(alphas) + len(weights) == len(trainable)
    assert {id(p) for p in weights} | {id(p) for p in alphas} == {id(p) for p in trainable}
    shares = operation_shares(model)
    assert list(shares) == ["first", "second"]
    assert sum(shares["first"]) == pytest.approx(1)
