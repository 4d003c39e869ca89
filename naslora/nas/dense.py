"""Approximate a cell by one r x r matrix, so that its branch fits into a plain linear layer.

A k x k operation on a map is no matrix product; a matrix can only stand for it on average. Three
estimators, from crude to best:

- centre: the middle tap of every kernel;
- sum: the sum over the taps, which is right where the map is constant;
- least_squares: M* = E[c(z) z^T] E[z z^T]^-1 for the cell c on measured maps z. For a linear cell
  this is (sum_d K_d R(d)) R(0)^-1 with R the autocorrelation of z, which it thus includes; and it
  needs no assumption about max-pooling, ReLU or borders.

Centre and sum take max-pooling for the identity, as neither knows the maps.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from naslora.core.errors import SettingsError
from naslora.nas.cell import NASCell
from naslora.nas.operations import AveragePool

Estimator = Literal["centre", "sum", "least_squares"]
ESTIMATORS: tuple[Estimator, ...] = get_args(Estimator)


class CellStatistics:
    """Second moments of a cell's inputs z and outputs u, summed over positions in float64."""

    def __init__(self, channels: int):
        self.positions = 0
        self.zz = torch.zeros(channels, channels, dtype=torch.float64)
        self.uz = torch.zeros(channels, channels, dtype=torch.float64)
        self.uu = torch.zeros(channels, channels, dtype=torch.float64)

    def update(self, z: Tensor, u: Tensor) -> None:
        """Add a batch of inputs and outputs, both (..., r)."""
        z = z.detach().reshape(-1, z.shape[-1]).to("cpu", torch.float64)
        u = u.detach().reshape(-1, u.shape[-1]).to("cpu", torch.float64)
        self.positions += len(z)
        self.zz += z.T @ z
        self.uz += u.T @ z
        self.uu += u.T @ u

    def least_squares(self) -> Tensor:
        """The (r, r) matrix M with the least sum of |u - M z|^2."""
        solution: Tensor = torch.linalg.lstsq(self.zz, self.uz.T, driver="gelsd").solution
        return solution.T

    def relative_error(self, matrix: Tensor, output: Tensor) -> float:
        """|B u - B M z| / |B u| over all positions; 0 where the branch gives nothing.

        Args:
            matrix: M, (r, r).
            output: B, (out, r).
        """
        gram = output.detach().to("cpu", torch.float64)
        gram = gram.T @ gram
        matrix = matrix.to("cpu", torch.float64)
        cross = self.uz @ matrix.T
        residual = self.uu - cross - cross.T + matrix @ self.zz @ matrix.T
        signal = torch.trace(gram @ self.uu).item()
        return (max(torch.trace(gram @ residual).item(), 0.0) / signal) ** 0.5 if signal else 0.0


def cell_matrix(
    cell: nn.Module, estimator: Estimator, statistics: CellStatistics | None = None
) -> Tensor:
    """The (r, r) float64 matrix that stands for a cell.

    Args:
        cell: a `NASCell`; for least_squares, any map of r channels.
        estimator: one of `ESTIMATORS`.
        statistics: of the cell on real maps; least_squares needs them.

    Raises:
        SettingsError: the estimator is unknown, lacks its statistics, or needs linear operations.
    """
    if estimator not in ESTIMATORS:
        raise SettingsError(f"no estimator {estimator!r}; there are {', '.join(ESTIMATORS)}")
    if estimator == "least_squares":
        if statistics is None or not statistics.positions:
            raise SettingsError("the least_squares estimator measures features: give it images")
        return statistics.least_squares()
    if not isinstance(cell, NASCell) or cell.normalised:
        raise SettingsError(
            f"the {estimator} estimator needs linear operations", remedy="use least_squares"
        )
    matrix = torch.eye(cell.channels, dtype=torch.float64)
    with torch.no_grad():
        kernel, rest = cell.decompose(cell.shares())
        inside = torch.zeros(cell.selected, cell.selected, dtype=torch.float64)
        if kernel is not None:
            middle = kernel.shape[-1] // 2
            taps = kernel.sum((-1, -2)) if estimator == "sum" else kernel[..., middle, middle]
            inside += taps.to("cpu", torch.float64)
        for i in rest:
            tap = _scalar_tap(cell.operations[i], estimator)
            inside += tap * cell.shares()[i].double().item() * torch.eye(cell.selected)
    matrix[cell.inside, cell.inside] = inside
    return matrix


def _scalar_tap(operation: nn.Module, estimator: Estimator) -> float:
    return 1 / 9 if isinstance(operation, AveragePool) and estimator == "centre" else 1.0
