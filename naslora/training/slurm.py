"""What starts the processes of a run in a SLURM allocation: `srun`, or Fabric."""

from __future__ import annotations

import os
import re
import warnings
from typing import TYPE_CHECKING

from naslora.core.errors import SettingsError
from naslora.study.settings import TrainingSettings

if TYPE_CHECKING:
    from lightning_fabric.plugins import ClusterEnvironment


def cluster_environment(settings: TrainingSettings) -> ClusterEnvironment | None:
    """What tells the processes of a run about each other; None to let Fabric detect it.

    What matters is how often `srun` started this command, not what the allocation was made for.
    If it did so once or not at all (in the shell of `salloc`, in a batch script), Fabric starts the
    other processes of the node. Otherwise it has to start one task for each process of the run.

    Args:
        settings: devices and nodes.

    Raises:
        SettingsError: `srun` started this command a different number of times, or nothing starts
            the processes on the other nodes.
        SystemExit: with status 0, in all tasks but the first in these cases, so that the message
            appears once.
    """
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

    devices, nodes = settings.devices, settings.num_nodes
    tasks = _started_tasks()
    if tasks == 1 and nodes == 1:
        if _in_allocation():
            # Fabric would use the node's host name, which may not resolve.
            os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        return LightningEnvironment() if devices == 1 or _in_allocation() else None
    if not _in_allocation():
        if "MASTER_ADDR" not in os.environ:
            raise SettingsError(
                f"training.num_nodes is {nodes}, and nothing starts the other nodes here",
                remedy="run in SLURM (naslora run --profile slurm), or set MASTER_ADDR and start"
                " this command on every node",
            )
        return None
    if wrong := _difference(tasks, devices, nodes):
        if os.environ.get("SLURM_PROCID", "0") != "0":
            raise SystemExit(0)
        raise SettingsError(wrong, remedy=_remedy(devices, nodes))
    if nodes == 1:
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("SLURM_NTASKS_PER_NODE", str(devices))  # Fabric requires it
    with warnings.catch_warnings():
        # Fabric recommends srun if the job's name looks interactive.
        warnings.filterwarnings("ignore", "The `srun` command is available")
        return SLURMEnvironment()


def _in_allocation() -> bool:
    return "SLURM_JOB_ID" in os.environ


def _started_tasks() -> int:
    """How often `srun` started this command; SLURM_NTASKS is what the allocation was made for."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS") or 1) if _in_allocation() else 1


def _difference(tasks: int, devices: int, nodes: int) -> str | None:
    """What is wrong with the number of tasks, if anything."""
    if tasks != devices * nodes:
        copies = "once" if tasks == 1 else f"{tasks} times"
        return (
            f"SLURM started this command {copies}, and the run needs {_counted(devices * nodes)}"
            f" (training.devices {devices} times training.num_nodes {nodes})"
        )
    each = _tasks_of_nodes(os.environ.get("SLURM_STEP_TASKS_PER_NODE", ""))
    if each and each != [devices] * nodes:
        return (
            f"SLURM started {', '.join(map(str, each))} tasks on the nodes of this run, which has"
            f" training.devices {devices} on each of training.num_nodes {nodes}"
        )
    return None


def _counted(processes: int) -> str:
    return f"{processes} process{'es' if processes > 1 else ''}"


def _remedy(devices: int, nodes: int) -> str:
    if devices * nodes == 1:
        return "start it without srun, or with srun --ntasks=1; or set training.devices"
    return f"start it with srun --nodes={nodes} --ntasks-per-node={devices} naslora train …" + (
        "" if nodes > 1 else ", or without srun"
    )


def _tasks_of_nodes(text: str) -> list[int]:
    """Read SLURM's short form: "2(x3),1" is 2, 2, 2 and 1 tasks."""
    found = re.findall(r"(\d+)(?:\(x(\d+)\))?", text)
    return [int(tasks) for tasks, times in found for _ in range(int(times or 1))]
