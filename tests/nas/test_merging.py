"""Matrices that approximate a cell."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from naslora.core.errors import SettingsError
from naslora.nas.cell import NASCell
from naslora.nas.dense import CellStatistics, Estimator, cell_matrix
from naslora.nas.settings import OPERATIONS, CellSettings

LINEAR = [name for name in OPERATIONS if name != "max_pool_3x3"]


def trained(**values: object) -> NASCell:
    torch.manual_seed(5)
    cell = NASCell(3, CellSettings(**values)).double()  # type: ignore[arg-type]
    nn.init.normal_(cell.alpha)
    return cell


def smooth(batch: int = 2, size: int = 12) -> Tensor:
    """Maps whose neighbours are correlated, as those of images are."""
    torch.manual_seed(6)
    x = torch.randn(batch, 3, size + 4, size + 4, dtype=torch.float64)
    x = nn.functional.avg_pool2d(x, 5, stride=1)
    mixing = torch.randn(3, 3, dtype=torch.float64)
    return x.permute(0, 2, 3, 1) @ mixing


def measure(cell: NASCell, z: Tensor) -> CellStatistics:
    statistics = CellStatistics(3)
    for part in z.split(1):
        statistics.update(part, cell(part))
    return statistics


def direct_error(cell: NASCell, matrix: Tensor, output: Tensor, z: Tensor) -> float:
    exact = cell(z) @ output.T
    return ((z @ matrix.T @ output.T - exact).norm() / exact.norm()).item()


def test_centre_of_known_operations() -> None:
    cell = trained(operations=["avg_pool_3x3", "max_pool_3x3", "skip", "zero"], ratio=2 / 3)
    share = cell.operation_weights().detach()
    tap = (share[0] / 9 + share[1] + share[2]).item()
    torch.testing.assert_close(
        cell_matrix(cell, "centre"), torch.diag(torch.tensor([tap, tap, 1.0], dtype=torch.float64))
    )


@pytest.mark.parametrize("side", ["first", "last"])
@pytest.mark.parametrize("count_padding", [True, False])
def test_sum_is_right_on_constant_maps(count_padding: bool, side: str) -> None:
    cell = trained(ratio=2 / 3, count_padding=count_padding, channels=side)
    constant = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64).expand(1, 19, 19, 3)
    inner = cell(constant)[0, 9, 9]
    torch.testing.assert_close(cell_matrix(cell, "sum") @ constant[0, 9, 9], inner)


def test_least_squares_is_the_formula_with_the_autocorrelation() -> None:
    cell = trained(operations=LINEAR)
    z = smooth()
    kernel, _ = cell.decompose(cell.operation_weights())
    assert kernel is not None
    H, W = z.shape[1:3]
    reach = kernel.shape[-1] // 2
    padded = nn.functional.pad(z, (0, 0, reach, reach, reach, reach))
    cross = torch.zeros(3, 3, dtype=torch.float64)
    for u in range(2 * reach + 1):
        for v in range(2 * reach + 1):
            shifted = padded[:, u : u + H, v : v + W].reshape(-1, 3)
            cross += kernel[:, :, u, v].detach() @ (shifted.T @ z.reshape(-1, 3))
    flat = z.reshape(-1, 3)
    formula = cross @ torch.linalg.inv(flat.T @ flat)
    statistics = measure(cell, z)
    torch.testing.assert_close(cell_matrix(cell, "least_squares", statistics), formula)


def test_least_squares_is_the_best_and_errors_are_true() -> None:
    cell = trained(ratio=2 / 3)
    z = smooth()
    statistics = measure(cell, z)
    output = torch.eye(3, dtype=torch.float64)
    estimators: tuple[Estimator, ...] = ("centre", "sum", "least_squares")
    errors = {}
    for estimator in estimators:
        matrix = cell_matrix(cell, estimator, statistics)
        errors[estimator] = statistics.relative_error(matrix, output)
        assert errors[estimator] == pytest.approx(direct_error(cell, matrix, output, z), rel=1e-6)
    assert errors["least_squares"] < min(errors["centre"], errors["sum"])
    best = cell_matrix(cell, "least_squares", statistics)
    for _ in range(20):
        other = best + 0.01 * torch.randn(3, 3, dtype=torch.float64)
        assert statistics.relative_error(other, output) > errors["least_squares"]


def test_error_is_weighted_by_the_output() -> None:
    cell = trained()
    z = smooth()
    output = torch.randn(7, 3, dtype=torch.float64)
    statistics = measure(cell, z)
    matrix = cell_matrix(cell, "centre")
    assert statistics.relative_error(matrix, output) == pytest.approx(
        direct_error(cell, matrix, output, z), rel=1e-6
    )
    assert statistics.relative_error(matrix, torch.zeros(7, 3)) == 0


def test_skip_alone_merges_exactly() -> None:
    cell = trained(operations=["skip"])
    z = smooth()
    for estimator in ("centre", "sum", "least_squares"):
        matrix = cell_matrix(cell, estimator, measure(cell, z))  # type: ignore[arg-type]
        torch.testing.assert_close(matrix, torch.eye(3, dtype=torch.float64))


def test_dead_channel_gives_a_finite_matrix() -> None:
    cell = trained()
    z = smooth()
    z[..., 1] = 0
    assert cell_matrix(cell, "least_squares", measure(cell, z)).isfinite().all()


def test_darts_by_least_squares_only() -> None:
    cell = trained(style="darts").eval()
    z = smooth()
    assert cell_matrix(cell, "least_squares", measure(cell, z)).isfinite().all()
    with pytest.raises(SettingsError, match="linear"):
        cell_matrix(cell, "centre")


def test_refuses() -> None:
    with pytest.raises(SettingsError, match="images"):
        cell_matrix(trained(), "least_squares")
    with pytest.raises(SettingsError, match="estimator"):
        cell_matrix(trained(), "mean")  # type: ignore[arg-type]
