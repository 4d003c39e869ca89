"""Approximation of a cell by an r x r matrix, so that its branch merges into a linear layer.

A cell c mixes neighbouring positions of a map z, and a linear layer does not. A matrix M in place
of the cell is therefore an approximation: M z[p] for c(z)[p] at each position p. The estimators of
M, from the simplest to the most exact:

- centre: the centre tap of every kernel;
- sum: the sum of every kernel's taps, which is exact where the map is constant;
- least_squares: M = E[c(z) z^T] E[z z^T]^-1, with expectations over the positions of given images.
  For a linear cell with kernel K this is (sum_d K_d R(d)) R(0)^-1, where R is the autocorrelation
  of z. It applies to max-pooling, ReLU and borders as well.

Centre and sum use no images, and take the identity for max-pooling.
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
    """Second moments of a cell's inputs z and outputs u, summed over positions in float64.

    Args:
        channels: r, the cell's channels.

    Attributes:
        positions: number of positions.
        zz, uz, uu: the sums of z z^T, u z^T and u u^T, (r, r).
    """

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
        """The matrix M (r, r) that minimises the sum of |u - M z|^2."""
        solution: Tensor = torch.linalg.lstsq(self.zz, self.uz.T, driver="gelsd").solution
        return solution.T

    def relative_error(self, matrix: Tensor, output: Tensor) -> float:
        """The error |B u - B M z| / |B u| over all positions; 0 where B u is zero everywhere.

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
    """Estimate the matrix that replaces a cell.

    Args:
        cell: a `NASCell`; for least_squares, any module that maps r channels to r.
        estimator: one of `ESTIMATORS`.
        statistics: of the cell on images; least_squares needs them.

    Returns:
        M, (r, r), float64.

    Raises:
        SettingsError: the estimator is unknown; least_squares is used without statistics; or
            another one is used for a cell of style "darts".
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
        kernel, rest = cell.decompose(cell.operation_weights())
        inside = torch.zeros(cell.num_selected, cell.num_selected, dtype=torch.float64)
        if kernel is not None:
            middle = kernel.shape[-1] // 2
            taps = kernel.sum((-1, -2)) if estimator == "sum" else kernel[..., middle, middle]
            inside += taps.to("cpu", torch.float64)
        for i in rest:
            tap = _scalar_tap(cell.operations[i], estimator)
            inside += (
                tap * cell.operation_weights()[i].double().item() * torch.eye(cell.num_selected)
            )
    matrix[cell.channel_slice, cell.channel_slice] = inside
    return matrix


def _scalar_tap(operation: nn.Module, estimator: Estimator) -> float:
    """The factor for a pooling operation: its kernel's centre tap or sum; 1 for max-pooling."""
    return 1 / 9 if isinstance(operation, AveragePool) and estimator == "centre" else 1.0
