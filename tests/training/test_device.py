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
def test_a_missing_accelerator_is_an_error_with_a_remedy(accelerator: str) -> None:
    with pytest.raises(SettingsError, match=f"training.accelerator {accelerator}") as caught:
        launch_fabric(training(accelerator=accelerator))
    assert caught.value.remedy


@pytest.mark.gpu
def test_more_devices_than_there_are() -> None:
    with pytest.raises(SettingsError, match=r"training\.devices 4096"):
        launch_fabric(training(accelerator="gpu", devices=4096))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"devices": 64}, "training.devices is 64"),
        ({"devices": 64, "accelerator": "auto"}, "training.devices is 64"),
        ({"threads": 100_000}, "training.threads is 100000"),
        ({"workers": 100_000}, "training.workers is 100000"),
    ],
)
def test_far_more_than_the_machine_has_is_refused_before_anything_starts(
    changes: dict[str, object], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    threads = torch.get_num_threads()
    with pytest.raises(SettingsError, match=f"{named}.* machine has 2 cores") as caught:
        launch_fabric(training(**{"accelerator": "cpu", **changes}))
    assert caught.value.remedy
    assert torch.get_num_threads() == threads
