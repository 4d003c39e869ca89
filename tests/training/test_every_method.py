"""Every method of the rehearsal trains: the loss falls, and weights load for evaluation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from naslora.evaluation.evaluate import evaluate
from naslora.study.layout import Layout
from naslora.study.settings import Study, load_study
from naslora.training.train import train

REHEARSAL = load_study("rehearsal", config=Path(__file__).parents[2] / "config")


@pytest.mark.parametrize("method", REHEARSAL.methods)
def test_loss_falls_and_the_run_is_evaluated(method: str, copied: Callable[..., Study]) -> None:
    study = copied({"methods": [method], "training": {"epochs": 4}})
    receipt = train(study, "kvasir", method, 0)
    assert receipt.status == "done"
    losses = [epoch["loss"] for epoch in receipt.history]
    assert losses[-1] < losses[0]
    record = evaluate(study, "kvasir", method, 0)
    assert record.status == "done"
    assert record.metrics["test"]["S_measure"] > 0


@pytest.mark.parametrize("method", ["nas_lora", "nas_pc_lora"])
def test_alpha_rests_until_t_b_and_moves_after_it(
    method: str, copied: Callable[..., Study]
) -> None:
    settings = {"epochs": 4, "architecture": {"start_epoch": 2}}
    study = copied({"methods": [method], "training": settings})
    receipt = train(study, "kvasir", method, 0)
    shares = [np.array(list(epoch.values())) for epoch in receipt.alpha]
    assert len(shares) == 4
    assert all("architecture_loss" in e for e in receipt.history[2:])
    assert not any("architecture_loss" in e for e in receipt.history[:2])
    assert np.array_equal(shares[0], shares[1])
    assert not np.array_equal(shares[1], shares[2])
    assert not np.array_equal(shares[2], shares[3])


@pytest.mark.parametrize("method", ["conv_lora", "mona"])
def test_workers_change_no_result(method: str, copied: Callable[..., Study]) -> None:
    """These two draw random numbers in training."""
    adapters = []
    for workers in (0, 1):
        settings = {"epochs": 2, "workers": workers}
        study = copied({"methods": [method], "training": settings}, folder=f"workers{workers}")
        train(study, "kvasir", method, 0)
        adapters.append(Layout.of(study).adapter("kvasir", method, 0).read_bytes())
    assert adapters[0] == adapters[1]
