"""How a run uses the variables of a SLURM allocation, which are simulated here."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

from naslora.core.errors import SettingsError
from naslora.study.settings import TrainingSettings, load_study
from naslora.training.device import launch_fabric
from naslora.training.slurm import cluster_environment

CONFIG = Path(__file__).parents[2] / "config"
SHELL = {"JOB_ID": "17", "NTASKS": "4", "PROCID": "0", "NNODES": "1", "JOB_NAME": "interactive"}


def training(**changes: object) -> TrainingSettings:
    settings = load_study("rehearsal", config=CONFIG).training
    return settings.model_copy(update=changes)


def step(tasks: int, per_node: str, rank: int = 0, **more: str) -> dict[str, str]:
    """Variables of a task that `srun` started."""
    return {
        **{"JOB_ID": "17", "STEP_ID": "0", "NTASKS": str(tasks), "PROCID": str(rank)},
        **{"LOCALID": str(rank), "NODEID": "0", "STEP_NUM_TASKS": str(tasks)},
        **{"STEP_TASKS_PER_NODE": per_node, **more},
    }


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set variables of SLURM, and no others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    kept.pop("MASTER_ADDR", None)

    def put(variables: dict[str, str]) -> None:
        monkeypatch.setattr(
            os, "environ", {**kept, **{f"SLURM_{name}": v for name, v in variables.items()}}
        )

    put({})
    return put


@pytest.mark.parametrize(
    "variables",
    [
        {},
        SHELL,  # salloc --ntasks=4, or a batch script of four tasks
        step(1, "1"),
        {**step(1, "1"), "NTASKS": "4"},  # the step that is the shell of salloc on a node
    ],
)
def test_one_device_is_one_process_whatever_the_allocation_was_made_for(
    slurm: Any, variables: dict[str, str]
) -> None:
    slurm(variables)
    fabric = launch_fabric(training())
    assert (fabric.world_size, fabric.global_rank) == (1, 0)


@pytest.mark.parametrize("variables", [SHELL, {**SHELL, "NTASKS": "1"}, step(1, "1")])
def test_two_devices_of_one_task_are_started_by_fabric(
    slurm: Any, variables: dict[str, str]
) -> None:
    slurm(variables)
    found = cluster_environment(training(devices=2))
    assert type(found) is LightningEnvironment
    assert not found.creates_processes_externally
    assert os.environ["MASTER_ADDR"] == "127.0.0.1"


@pytest.mark.parametrize("more", [{}, {"JOB_NAME": "interactive"}, {"NTASKS_PER_NODE": "2"}])
@pytest.mark.parametrize("found_srun", [True, False])
def test_two_devices_of_two_tasks_are_started_by_srun(
    slurm: Any, more: dict[str, str], found_srun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --ntasks-per-node too, which Fabric would refuse; and in the shell of salloc."""
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/srun" if found_srun else None)
    slurm(step(2, "2", rank=1, **more))
    found = cluster_environment(training(devices=2))
    assert type(found) is SLURMEnvironment
    assert (found.world_size(), found.global_rank(), found.local_rank()) == (2, 1, 1)
    assert found.main_address == "127.0.0.1"


def test_two_nodes_of_two_devices(slurm: Any) -> None:
    slurm({**step(4, "2(x2)", rank=3), "LOCALID": "1", "NODEID": "1", "NODELIST": "node[3-4]"})
    found = cluster_environment(training(devices=2, num_nodes=2))
    assert type(found) is SLURMEnvironment
    assert (found.global_rank(), found.local_rank(), found.node_rank()) == (3, 1, 1)
    assert found.main_address == "node3"


@pytest.mark.parametrize(
    ("variables", "changes", "said", "remedy"),
    [
        (step(4, "4"), {}, "4 times, and the run needs 1 process ", "srun --ntasks=1"),
        (step(3, "3"), {"devices": 2}, "3 times, and the run needs 2 ", "--ntasks-per-node=2"),
        (SHELL, {"num_nodes": 2}, "once, and the run needs 2 ", "srun --nodes=2"),
        (step(4, "3,1"), {"devices": 2, "num_nodes": 2}, "3, 1 tasks on the nodes", "srun"),
        (step(2, "1(x2)"), {"devices": 2}, "1, 1 tasks on the nodes", "srun --nodes=1"),
    ],
)
def test_other_tasks_than_processes_are_one_message(
    slurm: Any, variables: dict[str, str], changes: dict[str, int], said: str, remedy: str
) -> None:
    """Without it, the run would wait for processes that nobody starts, or be made four times."""
    slurm(variables)
    with pytest.raises(SettingsError, match=re.escape(said)) as caught:
        launch_fabric(training(**changes))
    assert remedy in str(caught.value.remedy)
    slurm({**variables, "PROCID": "1"})
    with pytest.raises(SystemExit) as ended:
        launch_fabric(training(**changes))
    assert ended.value.code == 0


def test_nodes_that_nothing_starts_are_an_error(slurm: Any) -> None:
    """Without it, this process would wait for the others for half an hour."""
    with pytest.raises(SettingsError, match=r"training\.num_nodes is 2") as caught:
        launch_fabric(training(num_nodes=2))
    assert "--profile slurm" in str(caught.value.remedy)


def test_a_login_node_without_gpus_is_told_of_srun(
    slurm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    slurm(SHELL)
    with pytest.raises(SettingsError, match=r"training\.accelerator cuda") as caught:
        launch_fabric(training(accelerator="cuda"))
    assert "put srun before the command" in str(caught.value.remedy)
