"""Device, precision and processes of a run, through Lightning Fabric."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING

import torch

from naslora.core.errors import SettingsError
from naslora.core.processors import available_cores
from naslora.study.settings import TrainingSettings
from naslora.training.hardware import best_device
from naslora.training.slurm import cluster_environment

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# More threads or image-loading processes per core than this are refused as a mistake.
_PER_CORE = 4


def launch_fabric(settings: TrainingSettings) -> Fabric:
    """Start the processes of a run and make its arithmetic repeatable.

    Results on a CPU are the same bit for bit for the same number of threads. On a GPU a few
    operations have no deterministic form; torch warns of each once.

    Args:
        settings: accelerator, devices, nodes, precision and threads.

    Raises:
        SettingsError: this machine lacks the accelerator, or enough devices or cores; or
            SLURM did not start as many tasks as the run has processes.
        SystemExit: in the other tasks in that case.
    """
    _check_cores(settings)
    with warnings.catch_warnings():
        # Fabric imports a parser that still uses a deprecated module of setuptools.
        warnings.simplefilter("ignore", DeprecationWarning)
        from lightning_fabric import Fabric
        from lightning_fabric.strategies.ddp import DDPStrategy
        from lightning_fabric.utilities.exceptions import MisconfigurationException

    make_repeatable()
    environment = cluster_environment(settings)
    distributed = settings.devices * settings.num_nodes > 1
    try:
        with warnings.catch_warnings():
            # Fabric recommends srun wherever SLURM is installed.
            warnings.filterwarnings("ignore", "The `srun` command is available")
            fabric = Fabric(
                accelerator=settings.accelerator,
                devices=settings.devices,
                num_nodes=settings.num_nodes,
                precision=settings.precision,
                strategy=DDPStrategy(find_unused_parameters=True) if distributed else "auto",
                plugins=[] if environment is None else [environment],
            )
    except (MisconfigurationException, RuntimeError, ValueError) as error:
        raise SettingsError(
            f"this machine cannot train with training.accelerator {settings.accelerator}, "
            f"training.devices {settings.devices} and training.precision {settings.precision}: "
            f"{error}",
            remedy="change these settings, or use another machine"
            + ("; in the shell of salloc, put srun before the command" if _beside_job() else ""),
        ) from error
    fabric.launch()
    # After the launch, which sets a number of its own for several processes.
    torch.set_num_threads(settings.threads)
    return fabric


def make_repeatable() -> None:
    """Make torch use deterministic algorithms, in training and in evaluation."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)


def _check_cores(settings: TrainingSettings) -> None:
    """Check that the settings do not ask for far more than this machine has."""
    cores = available_cores()
    for name, value in (("threads", settings.threads), ("workers", settings.workers)):
        if value > _PER_CORE * cores:
            raise SettingsError(
                f"training.{name} is {value}, and this machine has {cores} cores",
                remedy=f"set it to at most {cores}",
            )
    on_cpu = settings.accelerator == "cpu" or (
        settings.accelerator == "auto" and best_device().type == "cpu"
    )
    if on_cpu and settings.devices > cores:
        raise SettingsError(
            f"training.devices is {settings.devices}: on a CPU these are processes, and this"
            f" machine has {cores} cores",
            remedy="set it to 1, and training.threads to the number of cores to use",
        )


def _beside_job() -> bool:
    """Whether an allocation's devices may be on another machine, as in the shell of `salloc`."""
    return "SLURM_JOB_ID" in os.environ and "SLURM_STEP_ID" not in os.environ
