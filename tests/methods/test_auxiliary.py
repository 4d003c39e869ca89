"""Collecting the losses that layers leave."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from naslora.methods.auxiliary import collect_auxiliary_losses


class Leaves(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(value))
        self.auxiliary_loss: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.auxiliary_loss = 2 * self.weight
        return x


def test_sums_and_clears() -> None:
    model = nn.Sequential(Leaves(1.0), nn.Linear(1, 1), nn.Sequential(Leaves(3.0)))
    model(torch.zeros(1))
    total = collect_auxiliary_losses(model)
    assert total is not None
    assert total.item() == 8
    total.backward()
    assert [m.weight.grad for m in model.modules() if isinstance(m, Leaves)] == [2, 2]
    assert collect_auxiliary_losses(model) is None


def test_none_where_nothing_was_left() -> None:
    assert collect_auxiliary_losses(nn.Linear(1, 1)) is None
