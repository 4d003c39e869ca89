"""A method with a fault that raises no error is found by its scores."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from naslora.evaluation.controls import evaluate_controls
from naslora.evaluation.evaluate import evaluate
from naslora.methods.layers import LowRankLinear
from naslora.results.aggregate import aggregate
from naslora.results.check import check
from naslora.study.settings import Study
from naslora.training.train import train

Copy = Callable[..., Study]
SETTINGS = {
    "methods": ["decoder_only", "lora"],
    "networks": [],
    "training.epochs": 6,
    "training.learning_rate": 5e-3,
}


def dead(study: Study) -> bool:
    """Train and evaluate both methods; whether `naslora check` names lora's branch."""
    for method in study.methods:
        train(study, "kvasir", method, 0)
        evaluate(study, "kvasir", method, 0)
    evaluate_controls(study, "kvasir")
    points = check(study, aggregate(study))
    (own,) = [point for point in points if point.where == "lora"]
    return not own.passed


@pytest.mark.slow
def test_a_branch_that_is_forced_to_zero_is_seen(
    copied: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not dead(copied(SETTINGS, folder="sound"))

    def without_branch(self: LowRankLinear, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.base(x)
        return out + 0 * sum(p.sum() for p in self.parameters() if p.requires_grad)

    monkeypatch.setattr(LowRankLinear, "forward", without_branch)
    assert dead(copied(SETTINGS, folder="broken"))
