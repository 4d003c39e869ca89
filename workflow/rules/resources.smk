# What jobs are given: minutes, memory, GPUs.
from naslora.sam.backbones import BACKBONES

BACKBONE = BACKBONES[study.sam.backbone]


def growing(amount):
    """An amount that grows with each attempt of a job that was killed for asking too little."""

    def grown(wildcards, attempt):
        return amount * attempt

    return grown


MEMORY = growing(BACKBONE.memory_mb)
GPUS = 0 if study.training.accelerator == "cpu" else study.training.devices


def whole_machine(wildcards):
    """Nothing runs beside a job that takes all cores; in SLURM, a job's cores are its own.

    Such a job has to go first, since it would wait for all cores to be idle.
    """
    return workflow.resource_settings.cores or study.training.threads


def alone(wildcards):
    """For `sbatch`. Jobs on a node's other GPUs hardly matter; on its cores they do."""
    return None if GPUS else "--exclusive"
