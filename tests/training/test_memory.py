"""The memory of a run does not grow from epoch to epoch."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest
import torch

from naslora.study.settings import Study
from naslora.training.progress import EpochProgress
from naslora.training.train import train

TASK = "kvasir"


@pytest.mark.parametrize("method", ["nas_lora", "conv_lora", "decoder_only"])
def test_as_many_tensors_after_every_epoch(
    copied: Callable[..., Study], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    study = copied({"methods": [method], "training.epochs": 5, "sam.image_size": 32})
    held: list[tuple[int, int]] = []
    report = EpochProgress.epoch

    def counting(progress: EpochProgress, losses: dict[str, float]) -> None:
        gc.collect()
        tensors = [x for x in gc.get_objects() if type(x) in (torch.Tensor, torch.nn.Parameter)]
        held.append((len(tensors), sum(x.numel() * x.element_size() for x in tensors)))
        report(progress, losses)

    monkeypatch.setattr(EpochProgress, "epoch", counting)
    train(study, TASK, method, 0)
    assert len(held) == 5
    # The first epoch is without alpha's optimiser, whose state is made at its first step.
    assert len(set(held[2:])) == 1, held
