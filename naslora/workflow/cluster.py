"""What SLURM needs beyond a Snakemake profile.

Three Snakemakes read the Snakefile: the one that a person started, one at the head of each SLURM
job, and one in its job step, which runs the commands.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess

from naslora.core.errors import SettingsError
from naslora.study.settings import Study
from naslora.workflow.jobs import Jobs
from naslora.workflow.preflight import check_inputs

# In the environment of jobs that the workflow submitted, and not of others in an allocation.
_IN_JOB = "NASLORA_SLURM_JOB"
# SLURM sends SIGUSR1 so many seconds before a job's time is up, and up to a minute earlier.
_WARNING = "USR1@240"
# What the shell does about it in a job: it waits for the command, which saves its state.
TRAP = "trap : TERM USR1; "


def prepare_submission(study: Study, jobs: Jobs) -> None:
    """Before jobs are submitted: check what takes seconds, and prepare their environment.

    Raises:
        SettingsError: this machine has no SLURM, or it does not answer.
        CheckpointError, ArchiveError: what the jobs need is missing.
    """
    check_slurm()
    check_inputs(study, sorted(jobs.to_prepare), weights=jobs.needs_weights)
    os.environ[_IN_JOB] = "1"
    os.environ.setdefault("SBATCH_SIGNAL", _WARNING)


def check_slurm() -> None:
    """Ask SLURM for its nodes; Snakemake would wait for ever for one that does not answer.

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


def in_slurm_job() -> bool:
    """Whether this process belongs to a job that the workflow submitted."""
    return _IN_JOB in os.environ


def prepare_job() -> None:
    """In a job: leave signals to the command.

    SLURM signals all processes of a step; Snakemake is to wait for the command.
    """
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
