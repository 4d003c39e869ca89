"""The operations against loops written from their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from naslora.nas.operations import (
    OPERATIONS,
    DartsConv,
    LinearConv,
    OperationOptions,
    build_operation,
    check_operations,
)

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
    """Both stages of a doubled convolution see what lies around the map, but the map alone ends."""
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


def expected(
    name: str, x: np.ndarray, operation: nn.Module, options: OperationOptions
) -> np.ndarray:
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
    [OperationOptions(), OperationOptions(depth=2), OperationOptions(count_padding=False)],
    ids=["default", "depth2", "inside"],
)
@pytest.mark.parametrize("name", OPERATIONS)
def test_equals_loop(name: str, options: OperationOptions, size: tuple[int, int]) -> None:
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
    operation = build_operation(name, 3, OperationOptions(depth=depth)).double()
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
    kernel = build_operation(name, 2, OperationOptions(depth=depth)).kernel()
    assert kernel is not None
    assert kernel.shape == (2, 2, size, size)


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (OperationOptions(), [36, 84, 36, 84]),
        (OperationOptions(depth=2), [72, 168, 36, 84]),
        (OperationOptions("darts"), [42, 90, 42, 90]),
        (OperationOptions("darts", conv_bias=True), [48, 96, 48, 96]),
        (OperationOptions("darts", affine=False), [36, 84, 36, 84]),
    ],
)
def test_parameter_counts(options: OperationOptions, count: list[int]) -> None:
    built = [build_operation(name, 3, options) for name in OPERATIONS]
    assert [sum(p.numel() for p in operation.parameters()) for operation in built] == [
        *count,
        *[0] * 4,
    ]


def test_darts_is_relu_conv_bn() -> None:
    torch.manual_seed(0)
    operation = build_operation("dil_conv_3x3", 2, OperationOptions("darts", conv_bias=True))
    assert isinstance(operation, DartsConv)
    x = torch.randn(2, 2, 6, 5)
    _, depthwise, pointwise, _ = operation.stages
    y = pointwise(depthwise(x.relu()))
    y = (y - y.mean((0, 2, 3), keepdim=True)) / (
        y.var((0, 2, 3), False, keepdim=True) + 1e-5
    ).sqrt()
    torch.testing.assert_close(operation(x), y)
    assert operation.kernel() is None


def test_states_of_constants_are_not_saved() -> None:
    assert not build_operation("avg_pool_3x3", 2, OperationOptions()).state_dict()
    assert not build_operation("skip", 2, OperationOptions()).state_dict()


@pytest.mark.parametrize("names", [(), ("conv",), ("skip", "skip")])
def test_refuses_operations(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="operation"):
        check_operations(names)


@pytest.mark.parametrize(
    "values",
    [{"style": "nonlinear"}, {"depth": 3}, {"conv_bias": True}, {"count_padding": "yes"}],
)
def test_refuses_options(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        OperationOptions(**values)  # type: ignore[arg-type]
