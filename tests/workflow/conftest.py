"""A copy of the workflow in which a stand-in for `naslora` writes files and does no work."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from naslora.server import ADDRESS

ROOT = Path(__file__).parents[2]
WORKFLOW = ("Snakefile", "workflow", "config", "environment.yml", "local", "slurm")


@dataclass(frozen=True)
class Answer:
    code: int
    text: str

    def planned(self) -> Counter[str]:
        """Jobs by rule, from the lines of a dry run."""
        lines = [line.split() for line in self.text.splitlines()]
        return Counter(words[2] for words in lines if words[:2] == ["would", "run"])


class Project:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.records = root / "results" / "rehearsal" / "records"

    @classmethod
    def new(cls, root: Path) -> Project:
        root.mkdir()
        for name in WORKFLOW:
            source = ROOT / name
            if source.is_dir() and not source.is_symlink():
                shutil.copytree(source, root / name, symlinks=True)
            else:
                shutil.copy(source, root / name, follow_symlinks=False)
        (root / "bin").mkdir()
        shutil.copy(ROOT / "tests" / "workflow" / "fake_naslora", root / "bin" / "naslora")
        return cls(root)

    def copy(self, root: Path) -> Project:
        shutil.copytree(self.root, root, symlinks=True)
        return Project(root)

    def snakemake(self, *arguments: str, fail: str = "") -> Answer:
        """Run Snakemake here; a sub-command named by `fail` fails."""
        path = f"{self.root / 'bin'}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", *arguments],
            cwd=self.root,
            # An address of a server, so that no server is started for the stand-in.
            env={**os.environ, "PATH": path, "FAIL": fail, ADDRESS: "none"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        return Answer(done.returncode, done.stdout)

    def calls(self) -> list[str]:
        """The sub-commands that were run since the last call of this, with their arguments."""
        path = self.root / "calls.txt"
        lines = path.read_text().splitlines() if path.is_file() else []
        path.unlink(missing_ok=True)
        return [line.strip() for line in lines]


@dataclass(frozen=True)
class History:
    """A project after three runs: one whose last job failed, its repetition, and once more."""

    project: Project
    failed: Answer
    failed_calls: list[str]
    repeated: Answer
    repeated_calls: list[str]
    again: Answer
    again_calls: list[str]


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    project = Project.new(tmp_path_factory.mktemp("workflow") / "project")
    failed = project.snakemake("--profile", "local", fail="table")
    failed_calls = project.calls()
    repeated = project.snakemake("--profile", "local")
    repeated_calls = project.calls()
    again = project.snakemake("--profile", "local", "all_tables", "--config", "archives=elsewhere")
    return History(project, failed, failed_calls, repeated, repeated_calls, again, project.calls())


@pytest.fixture
def finished(history: History, tmp_path: Path) -> Project:
    """A copy of the project with all its results."""
    return history.project.copy(tmp_path / "project")


@pytest.fixture
def fresh(tmp_path: Path) -> Project:
    return Project.new(tmp_path / "project")


@pytest.fixture
def fresh_elsewhere(tmp_path: Path) -> Project:
    return Project.new(tmp_path / "elsewhere")
