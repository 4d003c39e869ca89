"""Copies of the project's workflow and settings, for tests that run Snakemake."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = ("Snakefile", "workflow", "config", "environment.yml", "local", "slurm")


def copy_project(folder: Path) -> None:
    """Create a folder with the files that Snakemake needs; symbolic links stay links."""
    folder.mkdir()
    for name in FILES:
        source = ROOT / name
        if name == "config" or (source.is_dir() and not source.is_symlink()):
            shutil.copytree(source, folder / name, symlinks=True)
        else:
            shutil.copy(source, folder / name, follow_symlinks=False)
