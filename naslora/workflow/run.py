"""Start Snakemake on a study, from any folder."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from naslora.core.errors import SettingsError
from naslora.study.nested import nest
from naslora.workflow.options import flow_yaml

_PROFILES = Path("workflow") / "profiles"


def workflow_folder() -> Path:
    """The folder with the Snakefile: the checkout, or where the package installed it.

    Raises:
        SettingsError: the workflow is not installed.
    """
    checkout = Path(__file__).resolve().parents[2]
    installed = Path(sysconfig.get_path("data")) / "share" / "naslora"
    for folder in (checkout, installed):
        if (folder / "Snakefile").is_file():
            return folder
    raise SettingsError(
        "the workflow's files are not installed",
        where=installed,
        remedy="reinstall naslora",
    )


def snakemake_command(
    study: str,
    overrides: Mapping[str, Any],
    profile: str,
    target: str,
    options: Sequence[str] = (),
) -> list[str]:
    """The command that runs a study.

    Args:
        study: the name of the study.
        overrides: settings that win over the study's, as `parse_overrides` returns them.
        profile: `local` or `slurm`, or the name or folder of any other Snakemake profile.
        target: a rule of the Snakefile.
        options: further options of Snakemake.
    """
    folder = workflow_folder()
    shipped = folder / _PROFILES / profile
    settings = {**nest(overrides.items()), "study": study}
    config = [f"{key}={flow_yaml(value)}" for key, value in settings.items()]
    return [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(folder / "Snakefile"),
        "--profile",
        str(shipped) if shipped.is_dir() else profile,
        *options,
        "--config",
        *config,
        "--",
        target,
    ]


def run_snakemake(
    study: str,
    overrides: Mapping[str, Any],
    profile: str,
    target: str,
    options: Sequence[str] = (),
) -> int:
    """Run a study in the current folder; see `snakemake_command`.

    Returns:
        Snakemake's exit code.
    """
    process = subprocess.Popen(snakemake_command(study, overrides, profile, target, options))
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # Snakemake gets it from the terminal too, and ends its jobs
            continue
