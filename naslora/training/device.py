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


def launch_fabric(settings: TrainingSettings, *, unused_parameters: bool = False) -> Fabric:
    """Start the processes of a run and make its arithmetic repeatable.

    Results on a CPU are the same bit for bit for the same number of threads. On a GPU a few
    operations have no deterministic form; torch warns of each once.

    Args:
        settings: accelerator, devices, nodes, precision and threads.
        unused_parameters: whether a step may leave trainable parameters without a gradient, which
            distributed training must know.

    Raises:
        SettingsError: this machine lacks the accelerator or as many devices.
    """
    with warnings.catch_warnings():
        # Fabric imports a parser that still names a deprecated module of setuptools.
        warnings.simplefilter("ignore", DeprecationWarning)
        from lightning_fabric import Fabric
        from lightning_fabric.strategies.ddp import DDPStrategy
        from lightning_fabric.utilities.exceptions import MisconfigurationException

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    if settings.num_nodes > 1 and not {"SLURM_JOB_ID", "MASTER_ADDR"} & set(os.environ):
        raise SettingsError(
            f"training.num_nodes is {settings.num_nodes}, and nothing starts the other nodes here",
            remedy="run in SLURM (snakemake --profile slurm), or set MASTER_ADDR and start each",
        )
    distributed = settings.devices * settings.num_nodes > 1
    if settings.num_nodes == 1 and "SLURM_JOB_ID" in os.environ:
        # Fabric would ask for the node by its name, which need not lead anywhere.
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
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
