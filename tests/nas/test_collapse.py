"""The inference form of a cell."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from naslora.core.errors import SettingsError
from naslora.nas.cell import NASCell
from naslora.nas.collapse import CollapsedCell, collapse
from naslora.nas.settings import CellSettings


def trained(**values: object) -> NASCell:
    torch.manual_seed(3)
    cell = NASCell(3, CellSettings(**values))  # type: ignore[arg-type]
    nn.init.normal_(cell.alpha)
    return cell


@pytest.mark.parametrize(("count_padding", "side"), [(True, "first"), (False, "last")])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_is_exact(dtype: torch.dtype, bound: float, count_padding: bool, side: str) -> None:
    cell = trained(ratio=2 / 3, count_padding=count_padding, channels=side).to(dtype)
    collapsed = CollapsedCell(cell)
    cell.fused = False
    for size in range(1, 21):
        x = torch.randn(2, size, 21 - size, 3, dtype=dtype)
        assert (collapsed(x) - cell(x)).abs().max() <= bound


def test_is_one_9x9_convolution_and_max_pooling() -> None:
    collapsed = CollapsedCell(trained())
    assert collapsed.get_buffer("kernel").shape == (3, 3, 9, 9)
    assert len(collapsed.operations) == 1
    assert not list(collapsed.parameters())


@pytest.mark.parametrize(
    "operations", [["max_pool_3x3"], ["skip", "zero"], ["max_pool_3x3", "zero"]]
)
def test_any_subset(operations: list[str]) -> None:
    cell = trained(operations=operations)
    x = torch.randn(1, 5, 5, 3)
    expected = cell(x)
    torch.testing.assert_close(CollapsedCell(cell)(x), expected)


def test_keeps_its_kernel_when_the_cell_moves_on() -> None:
    cell = trained()
    x = torch.randn(1, 5, 5, 3)
    before = cell(x).detach()
    collapsed = CollapsedCell(cell)
    nn.init.normal_(cell.alpha)
    torch.testing.assert_close(collapsed(x), before)
    assert (cell(x) - before).abs().max() > 1e-3


def test_collapse_replaces_all_cells_once() -> None:
    model = nn.Sequential(trained(), nn.Sequential(trained()))
    reference = copy.deepcopy(model)
    x = torch.randn(1, 5, 5, 3)
    assert collapse(model) == 2
    assert collapse(model) == 0
    torch.testing.assert_close(model(x), reference(x), atol=1e-6, rtol=1e-5)


def test_darts_does_not_collapse_and_stays_whole() -> None:
    model = nn.Sequential(trained(), trained(style="darts"))
    with pytest.raises(SettingsError, match="darts"):
        collapse(model)
    assert all(isinstance(cell, NASCell) for cell in model)
