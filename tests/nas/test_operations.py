"""The operations against loops written from their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from naslora.nas.operations import (
    _BUILDERS,
    DartsConv,
    LinearConv,
    NormalisedPool,
    build_operation,
)
from naslora.nas.settings import OPERATIONS, CellSettings

LINEAR = [name for name in OPERATIONS if name != "max_pool_3x3"]


def value(x: np.ndarray, b: int, c: int, i: int, j: int) -> float:
    """The map, with zeros around it."""
    inside = 0 <= i < x.shape[2] and 0 <= j < x.shape[3]
    return float(x[b, c, i, j]) if inside else 0.0


def loop_depthwise(x: np.ndarray, weight: np.ndarray, dilation: int, halo: int) -> np.ndarray:
    """Depthwise convolution at every position, and at `halo` positions around the map."""
    B, C, H, W = x.shape
    k = weight.shape[-1]
    y = np.zeros((B, C, H + 2 * halo, W + 2 * halo))
    for b, c, i, j in np.ndindex(*y.shape):
        for u, v in np.ndindex(k, k):
            row = i - halo + dilation * (u - k // 2)
            column = j - halo + dilation * (v - k // 2)
            y[b, c, i, j] += weight[c, 0, u, v] * value(x, b, c, row, column)
    return y


def loop_pointwise(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    y = np.zeros_like(x)
    for b, o, i, j in np.ndindex(*x.shape):
        for c in range(x.shape[1]):
            y[b, o, i, j] += weight[o, c, 0, 0] * x[b, c, i, j]
    return y


def loop_conv(x: np.ndarray, operation: nn.Module, dilation: int) -> np.ndarray:
    """The first stage of two also has outputs around the map, which the second stage reads."""
    assert isinstance(operation, LinearConv)
    weights = [
        (d.detach().numpy(), p.detach().numpy())
        for d, p in zip(operation.depthwise, operation.pointwise, strict=True)
    ]
    reach = [dilation * (d.shape[-1] // 2) for d, _ in weights]
    halo = sum(reach[1:])
    y = loop_pointwise(loop_depthwise(x, weights[0][0], dilation, halo), weights[0][1])
    for depthwise, pointwise in weights[1:]:
        y = loop_pointwise(loop_depthwise(y, depthwise, dilation, 0), pointwise)
    H, W = x.shape[2:]
    return y[:, :, halo : halo + H, halo : halo + W]


def loop_pool(x: np.ndarray, kind: str, count_padding: bool = True) -> np.ndarray:
    y = np.zeros_like(x)
    H, W = x.shape[2:]
    for b, c, i, j in np.ndindex(*x.shape):
        near = [
            x[b, c, i + u, j + v]
            for u in (-1, 0, 1)
            for v in (-1, 0, 1)
            if 0 <= i + u < H and 0 <= j + v < W
        ]
        y[b, c, i, j] = (
            max(near) if kind == "max" else sum(near) / (9 if count_padding else len(near))
        )
    return y


def expected(name: str, x: np.ndarray, operation: nn.Module, options: CellSettings) -> np.ndarray:
    match name.split("_")[0]:
        case "sep":
            return loop_conv(x, operation, 1)
        case "dil":
            return loop_conv(x, operation, 2)
        case "avg":
            return loop_pool(x, "avg", options.count_padding)
        case "max":
            return loop_pool(x, "max")
        case "skip":
            return x
        case _:
            return np.zeros_like(x)


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (6, 4)])
@pytest.mark.parametrize(
    "options",
    [CellSettings(), CellSettings(depth=2), CellSettings(count_padding=False)],
    ids=["default", "depth2", "inside"],
)
@pytest.mark.parametrize("name", OPERATIONS)
def test_equals_loop(name: str, options: CellSettings, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    operation = build_operation(name, 2, options).double()
    x = torch.randn(2, 2, *size, dtype=torch.float64)
    y = operation(x)
    np.testing.assert_allclose(
        y.detach().numpy(), expected(name, x.numpy(), operation, options), atol=1e-12
    )


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("name", LINEAR)
def test_kernel_is_the_operation(name: str, depth: int) -> None:
    torch.manual_seed(0)
    operation = build_operation(name, 3, CellSettings(depth=depth)).double()
    kernel = operation.kernel()
    assert kernel is not None
    for size in range(1, 12):
        x = torch.randn(1, 3, size, 12 - size, dtype=torch.float64)
        y = torch.nn.functional.conv2d(x, kernel, padding=kernel.shape[-1] // 2)
        torch.testing.assert_close(y, operation(x), atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("name", "depth", "size"),
    [
        ("sep_conv_3x3", 1, 3),
        ("sep_conv_5x5", 1, 5),
        ("sep_conv_3x3", 2, 5),
        ("sep_conv_5x5", 2, 9),
        ("dil_conv_3x3", 1, 5),
        ("dil_conv_5x5", 1, 9),
        ("dil_conv_5x5", 2, 9),
    ],
)
def test_reach(name: str, depth: int, size: int) -> None:
    kernel = build_operation(name, 2, CellSettings(depth=depth)).kernel()
    assert kernel is not None
    assert kernel.shape == (2, 2, size, size)


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (CellSettings(), [36, 84, 36, 84]),
        (CellSettings(depth=2), [72, 168, 36, 84]),
        (CellSettings(style="darts"), [42, 90, 42, 90]),
        (CellSettings(style="darts", conv_bias=True), [48, 96, 48, 96]),
        (CellSettings(style="darts", affine=False), [36, 84, 36, 84]),
    ],
)
def test_parameter_counts(options: CellSettings, count: list[int]) -> None:
    built = [build_operation(name, 3, options) for name in OPERATIONS]
    assert [sum(p.numel() for p in operation.parameters()) for operation in built] == [
        *count,
        *[0] * 4,
    ]


def test_darts_is_relu_conv_bn() -> None:
    torch.manual_seed(0)
    operation = build_operation("dil_conv_3x3", 2, CellSettings(style="darts", conv_bias=True))
    assert isinstance(operation, DartsConv)
    x = torch.randn(2, 2, 6, 5)
    _, depthwise, pointwise, _ = operation.stages
    y = pointwise(depthwise(x.relu()))
    y = (y - y.mean((0, 2, 3), keepdim=True)) / (
        y.var((0, 2, 3), False, keepdim=True) + 1e-5
    ).sqrt()
    torch.testing.assert_close(operation(x), y)
    assert operation.kernel() is None


@pytest.mark.parametrize("count_padding", [True, False])
@pytest.mark.parametrize("kind", ["avg", "max"])
def test_darts_normalises_after_pooling(kind: str, count_padding: bool) -> None:
    """As the search network of DARTS and PC-DARTS: batch norm without scale and shift."""
    settings = CellSettings(style="darts", count_padding=count_padding)
    operation = build_operation(f"{kind}_pool_3x3", 2, settings).double()  # type: ignore[arg-type]
    assert isinstance(operation, NormalisedPool)
    assert not list(operation.parameters())
    assert operation.kernel() is None
    rng = np.random.default_rng(0)
    first, second = (3 * rng.normal(size=(2, 2, 5, 4)) + 1 for _ in range(2))
    pooled = loop_pool(first, kind, count_padding)
    mean, variance = pooled.mean((0, 2, 3), keepdims=True), pooled.var((0, 2, 3), keepdims=True)
    y = operation(torch.from_numpy(first)).numpy()
    np.testing.assert_allclose(y, (pooled - mean) / np.sqrt(variance + 1e-5), atol=1e-12)
    operation.eval()  # the running statistics have moved by a tenth, to the unbiased variance
    count = pooled.size / 2
    variance = 0.9 + 0.1 * variance * count / (count - 1)
    y = operation(torch.from_numpy(second)).numpy()
    expected = (loop_pool(second, kind, count_padding) - 0.1 * mean) / np.sqrt(variance + 1e-5)
    np.testing.assert_allclose(y, expected, atol=1e-12)


def test_states_of_constants_are_not_saved() -> None:
    assert not build_operation("avg_pool_3x3", 2, CellSettings()).state_dict()
    assert not build_operation("skip", 2, CellSettings()).state_dict()


def test_every_name_has_a_builder() -> None:
    assert tuple(_BUILDERS) == OPERATIONS


@pytest.mark.parametrize(
    "values",
    [
        {"operations": ()},
        {"operations": ("conv",)},
        {"operations": ("skip", "skip")},
        {"operations": "skip"},
        {"style": "nonlinear"},
        {"depth": 3},
        {"depth": True},
        {"conv_bias": True},
        {"count_padding": "yes"},
        {"ratio": 0},
        {"ratio": 1.1},
        {"channels": "middle"},
    ],
)
def test_refuses_settings(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(values))):
        CellSettings(**values)  # type: ignore[arg-type]
