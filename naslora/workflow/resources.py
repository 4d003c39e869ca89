"""Resources of jobs: cores, memory, time, GPUs and processes of distributed training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from naslora.sam.backbones import BACKBONES
from naslora.study.settings import Study
from naslora.workflow.cluster import has_gres_only, in_slurm_job
from naslora.workflow.jobs import Wildcards, seeds_option

# A resource that depends on the attempt, counted from 1.
Growing = Callable[[Wildcards, int], int]


def growing(amount: int) -> Growing:
    """An amount that grows with each attempt, since a job may have been killed for lack of it."""

    def grown(wildcards: Wildcards, attempt: int) -> int:
        return amount * attempt

    return grown


class JobResources:
    """The resources of a study's jobs; those of a run depend on its variant.

    Attributes:
        memory: megabytes of a job with a model.
        evaluation_minutes: time limit of an evaluation.
        training_minutes: time limit of a training.
        gpus: GPUs of a job with a single process.
    """

    def __init__(self, study: Study):
        self._study = study
        self._backbone = BACKBONES[study.sam.backbone]
        self.memory = growing(self._backbone.memory_mb)
        self.evaluation_minutes = growing(self._backbone.evaluation_minutes)
        self.training_minutes = growing(self._backbone.training_minutes)
        self.gpus = 0 if study.training.accelerator == "cpu" else 1

    def batch_minutes(self, wildcards: Wildcards, attempt: int) -> int:
        """Time limit of a batch; most of its runs take less than a quarter of a run's limit."""
        seeds = 1 if seeds_option(wildcards.seeds) else len(self._study.seeds)
        runs = seeds * len(self._study.run_names(wildcards.task))
        one = self._backbone.training_minutes + self._backbone.evaluation_minutes
        return max(one, one * runs // 4) * attempt

    def threads(self, wildcards: Wildcards) -> int:
        """CPU threads of each process of a training."""
        return int(self._setting(wildcards, "threads"))

    def processes(self, wildcards: Wildcards) -> int:
        """Processes of a training, over all nodes."""
        return self._devices(wildcards) * self._nodes(wildcards)

    def training_gpus(self, wildcards: Wildcards) -> int:
        """GPUs of a training, over all nodes."""
        on_cpu = self._setting(wildcards, "accelerator") == "cpu"
        return 0 if on_cpu else self.processes(wildcards)

    def training_memory(self, wildcards: Wildcards, attempt: int) -> int:
        """Megabytes of a training on each node."""
        return self._devices(wildcards) * self._backbone.memory_mb * attempt

    # Resources that only a training with several processes has, as the SLURM plugin knows them.

    def nodes(self, wildcards: Wildcards) -> int | None:
        return self._nodes(wildcards) if self.processes(wildcards) > 1 else None

    def tasks(self, wildcards: Wildcards) -> int | None:
        return self.processes(wildcards) if self.processes(wildcards) > 1 else None

    def tasks_per_gpu(self, wildcards: Wildcards) -> int | None:
        return -1 if self.processes(wildcards) > 1 else None  # unset: `tasks` is used instead

    def mpi(self, wildcards: Wildcards) -> str | None:
        return "srun" if self.processes(wildcards) > 1 else None

    def spread(self, wildcards: Wildcards) -> str | None:
        """Options for `sbatch` and `srun`: equally many processes and GPUs on each node."""
        if self.processes(wildcards) == 1:
            return None
        devices = self._devices(wildcards)
        gpus = f" --gpus-per-node={devices}" if self.training_gpus(wildcards) else ""
        return f"--ntasks-per-node={devices}{gpus}"

    def launcher(self, wildcards: Wildcards) -> str:
        """The command that starts the processes of a training in a SLURM job; elsewhere, Fabric
        starts them.

        If GPUs are `gres` only, a step gets all GPUs of its job without asking.
        """
        if self.processes(wildcards) == 1 or not in_slurm_job():
            return ""
        devices = self._devices(wildcards)
        spread = f"--ntasks-per-node={devices}" if has_gres_only() else self.spread(wildcards)
        return (
            f"srun --nodes={self._nodes(wildcards)} --ntasks={self.processes(wildcards)}"
            f" --cpus-per-task={self.threads(wildcards)} --cpu-bind=none {spread} "
        )

    def alone(self, wildcards: Wildcards) -> str | None:
        """The option of `sbatch` that keeps other jobs, which would disturb measurements, off the
        node.
        """
        return None if self.gpus else "--exclusive"

    def _devices(self, wildcards: Wildcards) -> int:
        return int(self._setting(wildcards, "devices"))

    def _nodes(self, wildcards: Wildcards) -> int:
        return int(self._setting(wildcards, "num_nodes"))

    def _setting(self, wildcards: Wildcards, key: str) -> Any:
        """A training setting of a run, which its variant may change."""
        variant = self._study.variants.get(wildcards.variant)
        own = variant.training if variant else {}
        return own.get(key, getattr(self._study.training, key))
