from __future__ import annotations

from pathlib import Path

import pytest
import torch

from naslora.core.errors import SettingsError
from naslora.study.settings import TrainingSettings, load_study
from naslora.training.device import launch_fabric

CONFIG = Path(__file__).parents[2] / "config"


def training(**changes: object) -> TrainingSettings:
    settings = load_study("rehearsal", config=CONFIG).training
    return settings.model_copy(update=changes)


def test_arithmetic_is_repeatable_and_threads_are_as_set() -> None:
    before = torch.get_num_threads()
    try:
        fabric = launch_fabric(training(threads=3))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert torch.are_deterministic_algorithms_enabled()
    assert (fabric.world_size, fabric.device.type) == (1, "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("accelerator", ["gpu", "cuda"])
def test_a_missing_accelerator_is_an_error_for_people(accelerator: str) -> None:
    with pytest.raises(SettingsError, match=f"training.accelerator {accelerator}") as caught:
        launch_fabric(training(accelerator=accelerator))
    assert caught.value.remedy


@pytest.mark.gpu
def test_more_devices_than_there_are() -> None:
    with pytest.raises(SettingsError, match=r"training\.devices 4096"):
        launch_fabric(training(accelerator="gpu", devices=4096))


def test_nodes_that_nothing_starts_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, this process would wait for the others for half an hour."""
    for name in ("SLURM_JOB_ID", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SettingsError, match=r"training\.num_nodes is 2") as caught:
        launch_fabric(training(num_nodes=2))
    assert "--profile slurm" in str(caught.value.remedy)
