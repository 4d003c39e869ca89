"""Checks and signals for SLURM, besides its Snakemake profile.

Three Snakemakes read the Snakefile: the one that a person started, one at the head of each SLURM
job, and one in its job step, which runs the commands.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from typing import Any

from naslora.core.errors import SettingsError
from naslora.study.settings import Study
from naslora.workflow.jobs import Jobs
from naslora.workflow.preflight import check_inputs

# In the environment of jobs that the workflow submitted, and not of others in an allocation.
_IN_JOB = "NASLORA_SLURM_JOB"
# SLURM sends SIGUSR1 so many seconds before a job's time is up, and up to a minute earlier.
_WARNING = "USR1@240"
# In a job, the shell ignores them and waits for the command, which saves its state.
TRAP = "trap : TERM USR1; "


def prepare_submission(
    study: Study, jobs: Jobs, asked: Mapping[str, Mapping[str, Any]] | None = None
) -> None:
    """Before jobs are submitted: check what takes seconds, and prepare their environment.

    Args:
        study: what is made.
        jobs: what it takes.
        asked: resources by rule, which options and profiles set (`--set-resources`).

    Raises:
        SettingsError: this machine has no SLURM, or it does not answer; or a rule asks for GPUs in
            two ways.
        CheckpointError, ArchiveError: what the jobs need is missing.
    """
    if study.training.accelerator != "cpu":
        check_gpu_requests(asked or {})
    check_slurm()
    check_inputs(study, sorted(jobs.to_prepare), weights=jobs.needs_weights)
    os.environ[_IN_JOB] = "1"
    os.environ.setdefault("SBATCH_SIGNAL", _WARNING)


def check_slurm() -> None:
    """Ask SLURM for its nodes; without an answer, Snakemake would wait for ever.

    Raises:
        SettingsError: this machine has no SLURM, or it does not answer.
    """
    if shutil.which("sbatch") is None or shutil.which("sinfo") is None:
        raise SettingsError(
            "this machine has no SLURM: the command sbatch is not on the PATH",
            remedy="run on a cluster's login node, or here with --profile local",
        )
    asked = subprocess.run(["sinfo", "--noheader"], capture_output=True, text=True)
    if asked.returncode != 0:
        raise SettingsError(
            f"SLURM does not answer: {asked.stderr.strip()}",
            remedy="try again when the command sinfo answers",
        )


def check_gpu_requests(asked: Mapping[str, Mapping[str, Any]]) -> None:
    """See that no rule asks for GPUs as `gpu`, which is our rules' own, and as `gres` as well.

    Raises:
        SettingsError: one does, which `sbatch` would take for a request of both, or refuse.
    """
    twice = [
        rule
        for rule, resources in asked.items()
        if "gpu" in str(resources.get("gres", "")) and str(resources.get("gpu", "")) != "0"
    ]
    if twice:
        raise SettingsError(
            f"rule {', '.join(sorted(twice))}: GPUs are asked for twice, as gpu and as gres",
            remedy="set gpu to 0 and tasks_per_gpu to -1 beside gres; see"
            " docs/how-to/cluster.md, Clusters that know GPUs as `gres` alone",
        )


def has_gres_only() -> bool:
    """In a job: whether it got its GPUs as `gres`, without an option for GPUs such as `--gpus`."""
    options = ("SLURM_GPUS", "SLURM_GPUS_PER_NODE", "SLURM_GPUS_PER_TASK")
    return in_slurm_job() and not any(name in os.environ for name in options)


def in_slurm_job() -> bool:
    """Whether this process belongs to a job that the workflow submitted."""
    return _IN_JOB in os.environ


def prepare_job() -> None:
    """In a job: leave signals to the command.

    SLURM signals all processes of a step; Snakemake is to wait for the command.
    """
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
