"""Checks and signals for SLURM, besides its Snakemake profile.

Three Snakemake processes read the Snakefile: the one that the user started, one at the start of
each SLURM job, and one in its job step, which runs the commands.
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

# Set in the environment of jobs that the workflow submitted, but not of others in an allocation.
_IN_JOB = "NASLORA_SLURM_JOB"
# SLURM sends SIGUSR1 this many seconds before a job's time limit, or up to a minute earlier.
_WARNING = "USR1@240"
# In a job, the shell ignores these signals and waits for the command, which saves its state.
TRAP = "trap : TERM USR1; "


def prepare_submission(
    study: Study, jobs: Jobs, asked: Mapping[str, Mapping[str, Any]] | None = None
) -> None:
    """Before jobs are submitted: run the checks that take seconds, and set their environment.

    Args:
        study: the study.
        jobs: its jobs.
        asked: resources by rule, set by options or profiles (`--set-resources`).

    Raises:
        SettingsError: this machine has no SLURM, or it does not answer; or a rule asks for GPUs in
            two ways.
        CheckpointError, ArchiveError: an input of the jobs is missing.
    """
    if study.training.accelerator != "cpu":
        check_gpu_requests(asked or {})
    check_slurm()
    check_inputs(study, sorted(jobs.to_prepare), weights=jobs.needs_weights)
    os.environ[_IN_JOB] = "1"
    os.environ.setdefault("SBATCH_SIGNAL", _WARNING)


def check_slurm() -> None:
    """Ask SLURM for its nodes; if it does not answer, Snakemake would wait for ever.

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
    """Check that no rule asks for GPUs both as `gpu`, as our rules do, and as `gres`.

    Raises:
        SettingsError: a rule does; `sbatch` would treat it as a request for both, or reject it.
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
            " docs/how-to/cluster.md, Clusters that offer GPUs only as `gres`",
        )


def has_gres_only() -> bool:
    """In a job: whether it got its GPUs as `gres`, not by an option such as `--gpus`."""
    options = ("SLURM_GPUS", "SLURM_GPUS_PER_NODE", "SLURM_GPUS_PER_TASK")
    return in_slurm_job() and not any(name in os.environ for name in options)


def in_slurm_job() -> bool:
    """Whether this process belongs to a job that the workflow submitted."""
    return _IN_JOB in os.environ


def prepare_job() -> None:
    """In a job: ignore SIGUSR1 in Snakemake and leave it to the command.

    SLURM signals all processes of a step, but Snakemake must wait for the command.
    """
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
