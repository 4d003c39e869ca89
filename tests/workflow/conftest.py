"""A copy of the workflow with a stand-in for `naslora` that writes files without doing any work."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.project import FILES, ROOT, copy_project

# With a job that trains the backbone; the rehearsal uses shipped weights.
SAM = {"backbone": "tiny", "image_size": 128, "checkpoint": "pretrained"}
# The rehearsal with fewer tasks, methods and seeds: even an empty job takes time.
FEWER = {
    "tasks": ["kvasir", "leaf"],
    "methods": ["lora", "nas_lora", "nas_pc_lora"],
    "networks": [],
    "seeds": [0, 1],
    "generated": {"kvasir": 60, "leaf": 60},
    "sam": SAM,
}


# For DVC: the smallest study with every stage.
LEAST = {
    "tasks": ["kvasir"],
    "methods": ["lora", "nas_lora"],
    "networks": [],
    "seeds": [0],
    "generated": {"kvasir": 60},
    "sam": SAM,
}
# Several commands of DVC in one process: it takes a second to start.
DVC = "import sys; from dvc.cli import main\nsys.exit(any([main(c.split()) for c in sys.argv[1:]]))"


# The same for Snakemake, whose import takes longer than a dry run.
SNAKEMAKE = """
import json, sys
from snakemake.cli import main
for arguments in json.loads(sys.argv[1]):
    try:
        main(arguments)
    except SystemExit as end:
        print("code", int(end.code or 0), flush=True)
"""


@dataclass(frozen=True)
class Answer:
    code: int
    text: str

    def planned(self) -> Counter[str]:
        """The number of planned jobs by rule, from the output of a dry run."""
        lines = [line.split() for line in self.text.splitlines()]
        return Counter(words[2] for words in lines if words[:2] == ["would", "run"])


class Project:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.records = root / "results" / "rehearsal" / "records"
        self.tables = root / "results" / "rehearsal" / "tables"

    @classmethod
    def new(cls, root: Path, settings_here: Mapping[str, Any] = FEWER) -> Project:
        copy_project(root)
        rehearsal = root / "config" / "rehearsal.yaml"
        settings = yaml.safe_load(rehearsal.read_text(encoding="utf-8"))
        rehearsal.write_text(yaml.safe_dump({**settings, **settings_here}), encoding="utf-8")
        (root / "bin").mkdir()
        shutil.copy(ROOT / "tests" / "workflow" / "fake_naslora", root / "bin" / "naslora")
        return cls(root)

    @classmethod
    def in_git(cls, root: Path) -> Project:
        """A new project in its own repository, with DVC's files."""
        project = cls.new(root, LEAST)
        shutil.copytree(ROOT / ".dvc", root / ".dvc", ignore=shutil.ignore_patterns("tmp", "cache"))
        for name in ("dvc.yaml", ".dvcignore", ".gitignore"):
            shutil.copy(ROOT / name, root / name)
        project.git("init", "--quiet")
        (root / ".git" / "info" / "exclude").write_text("calls.txt\n")
        project.commit()
        return project

    def git(self, *arguments: str) -> None:
        names = ("-c", "user.name=nobody", "-c", "user.email=nobody@localhost")
        subprocess.run(["git", *names, *arguments], cwd=self.root, check=True, timeout=60)

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "all")

    def clone(self, root: Path) -> Project:
        self.git("clone", "--quiet", str(self.root), str(root))
        return Project(root)

    def dvc(self, *commands: str, **environment: str) -> Answer:
        """Run commands of DVC here, one after the other; the code is 1 if one of them fails."""
        done = subprocess.run(
            [sys.executable, "-c", DVC, *commands],
            cwd=self.root,
            env=self.environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        return Answer(done.returncode, done.stdout)

    def environment(self, **more: str) -> dict[str, str]:
        """Environment of commands: the stand-in comes first, and user settings are not found."""
        own = self.root.parent / "dvc"
        programs = (self.root / "bin", Path(sys.executable).parent, os.environ["PATH"])
        return {
            **os.environ,
            "PATH": os.pathsep.join(map(str, programs)),
            "PYTHONPATH": str(ROOT),
            "DVC_GLOBAL_CONFIG_DIR": str(own / "global"),
            "DVC_SYSTEM_CONFIG_DIR": str(own / "system"),
            "DVC_SITE_CACHE_DIR": str(own / "site"),
            **more,
        }

    def copy(self, root: Path) -> Project:
        shutil.copytree(self.root, root, symlinks=True)
        return Project(root)

    def snakemake(self, *arguments: str, fail: str = "", real: str = "") -> Answer:
        """Run Snakemake here; the sub-command `fail` fails, and `real` is not replaced.

        `fail` may also name the task, variant and seed that fail, as in `calls`.
        """
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", *arguments],
            cwd=self.root,
            env=self.environment(FAIL=fail, REAL=real),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        return Answer(done.returncode, done.stdout)

    def plans(self, *lines: Sequence[str]) -> list[Counter[str]]:
        """The jobs that each of these dry runs would run; see `Answer.planned`."""
        answers = self.snakemakes(*([*line, "--dry-run"] for line in lines))
        assert not any(answer.code for answer in answers), answers
        return [answer.planned() for answer in answers]

    def snakemakes(self, *lines: Sequence[str]) -> list[Answer]:
        """Run Snakemake here, once for each line of arguments, in one process."""
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                SNAKEMAKE,
                json.dumps([["--profile", "local", *line] for line in lines]),
            ],
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=True,
        )
        texts = re.split(r"^code (\d+)\n", done.stdout, flags=re.MULTILINE)
        assert len(texts) == 2 * len(lines) + 1, done.stdout
        return [
            Answer(int(code), text) for text, code in zip(texts[:-1:2], texts[1::2], strict=True)
        ]

    def known_files(self) -> set[str]:
        """Names of the files in a project's folder other than its results."""
        return {*FILES, "bin", "calls.txt", ".snakemake"}

    def calls(self) -> list[str]:
        """The sub-commands that were run since the last call of this method, with arguments."""
        path = self.root / "calls.txt"
        lines = path.read_text().splitlines() if path.is_file() else []
        path.unlink(missing_ok=True)
        return [line.strip() for line in lines]


@dataclass(frozen=True)
class History:
    """A project after three runs: one whose last job failed, its repetition, and another one."""

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
def least(tmp_path: Path) -> Project:
    """A project with a study of one run, which has no results yet."""
    return Project.new(tmp_path / "project", LEAST)


@pytest.fixture
def single(tmp_path: Path) -> Project:
    """A project with the results of a study of one run, which is not part of a batch."""
    large = {"sam": {"backbone": "vit_b", "image_size": 1024, "checkpoint": "random"}}
    project = Project.new(tmp_path / "project", {**LEAST, **large})
    answer = project.snakemake("--profile", "local")
    assert answer.code == 0, answer.text
    project.calls()
    return project


@pytest.fixture
def fresh(tmp_path: Path) -> Project:
    return Project.new(tmp_path / "project")


@pytest.fixture
def fresh_elsewhere(tmp_path: Path) -> Project:
    return Project.new(tmp_path / "elsewhere")


@pytest.fixture(scope="session")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with the results of `dvc repro`, committed; tests must copy it."""
    project = Project.in_git(tmp_path_factory.mktemp("ledger") / "project")
    answer = project.dvc("repro", "repro")
    assert answer.code == 0, answer.text
    (project.root / "repro.txt").write_text(answer.text)
    project.commit()
    return project
