"""Device, precision and processes of a run, through Lightning Fabric."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING

import torch

from naslora.core.errors import SettingsError
from naslora.study.settings import TrainingSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins import ClusterEnvironment

# More threads or image-loading processes than this for each core are taken for a mistake.
_PER_CORE = 4


def launch_fabric(settings: TrainingSettings, *, unused_parameters: bool = False) -> Fabric:
    """Start the processes of a run and make its arithmetic repeatable.

    Results on a CPU are the same bit for bit for the same number of threads. On a GPU a few
    operations have no deterministic form; torch warns of each once.

    Args:
        settings: accelerator, devices, nodes, precision and threads.
        unused_parameters: whether a step may leave trainable parameters without a gradient, which
            distributed training must know.

    Raises:
        SettingsError: this machine lacks the accelerator, as many devices or as many cores; or
            SLURM did not start as many tasks as the run has processes.
    """
    _check_cores(settings)
    with warnings.catch_warnings():
        # Fabric imports a parser that still names a deprecated module of setuptools.
        warnings.simplefilter("ignore", DeprecationWarning)
        from lightning_fabric import Fabric
        from lightning_fabric.strategies.ddp import DDPStrategy
        from lightning_fabric.utilities.exceptions import MisconfigurationException

    make_repeatable()
    environment = _cluster_environment(settings)
    distributed = settings.devices * settings.num_nodes > 1
    try:
        with warnings.catch_warnings():
            # A hint at SLURM, wherever that is installed.
            warnings.filterwarnings("ignore", "The `srun` command is available")
            fabric = Fabric(
                accelerator=settings.accelerator,
                devices=settings.devices,
                num_nodes=settings.num_nodes,
                precision=settings.precision,
                strategy=DDPStrategy(find_unused_parameters=unused_parameters)
                if distributed
                else "auto",
                plugins=[] if environment is None else [environment],
            )
    except (MisconfigurationException, RuntimeError, ValueError) as error:
        raise SettingsError(
            f"this machine cannot train with training.accelerator {settings.accelerator}, "
            f"training.devices {settings.devices} and training.precision {settings.precision}: "
            f"{error}",
            remedy="change these settings, or use another machine",
        ) from error
    fabric.launch()
    # Only now, since the launch of several processes sets a number of its own.
    torch.set_num_threads(settings.threads)
    return fabric


def make_repeatable() -> None:
    """Let torch use deterministic algorithms, in training and in evaluation."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)


def _check_cores(settings: TrainingSettings) -> None:
    """See that the settings do not ask for far more than this machine has."""
    cores = os.cpu_count() or 1
    for name, value in (("threads", settings.threads), ("workers", settings.workers)):
        if value > max(_PER_CORE * cores, 1):
            raise SettingsError(
                f"training.{name} is {value}, and this machine has {cores} cores",
                remedy=f"set it to at most {cores}",
            )
    on_cpu = settings.accelerator == "cpu" or (
        settings.accelerator == "auto"
        and not torch.cuda.is_available()
        and not torch.backends.mps.is_available()
    )
    if on_cpu and settings.devices > cores:
        raise SettingsError(
            f"training.devices is {settings.devices}: on a CPU these are processes, and this"
            f" machine has {cores} cores",
            remedy="set it to 1, and training.threads to the number of cores to use",
        )


def _cluster_environment(settings: TrainingSettings) -> ClusterEnvironment | None:
    """Who starts the processes of a run: Fabric or SLURM; None where Fabric is to find out.

    SLURM's variables are read here and nowhere else in training. A run of one process ignores
    them, whatever the job around it looks like.
    """
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment

    processes = settings.devices * settings.num_nodes
    in_slurm = "SLURM_JOB_ID" in os.environ
    if processes == 1:
        return LightningEnvironment()
    if settings.num_nodes > 1 and not in_slurm and "MASTER_ADDR" not in os.environ:
        raise SettingsError(
            f"training.num_nodes is {settings.num_nodes}, and nothing starts the other nodes here",
            remedy="run in SLURM (snakemake --profile slurm), or set MASTER_ADDR and start each",
        )
    if not in_slurm:
        return None
    tasks = int(os.environ.get("SLURM_NTASKS") or 1)
    if settings.num_nodes == 1:
        # Fabric would ask for the node by its name, which need not lead anywhere.
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        if tasks == 1:
            return LightningEnvironment()
    if tasks != processes:
        raise SettingsError(
            f"SLURM started {tasks} tasks, and the run has {processes} processes"
            f" (training.devices times training.num_nodes)",
            remedy=f"start it with srun --ntasks={processes}"
            f" --ntasks-per-node={settings.devices} naslora train …",
        )
    return None
