"""A real SLURM on this machine, and copies of the project that run on it."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest
import yaml

from naslora.study.records import Receipt, read_receipt
from tests.project import ROOT, copy_project

SLURM = Path(__file__).with_name("slurm.py")
# The rehearsal, reduced to one small task.
STUDY = {
    "tasks": ["kvasir"],
    "methods": ["decoder_only", "lora", "nas_lora"],
    "networks": [],
    "seeds": [0, 1],
    "generated": {"kvasir": 24},
    "sam": {"backbone": "tiny", "image_size": 64, "checkpoint": "pretrained"},
    "pretraining": {"scenes": 8, "steps": 1, "batch_size": 8, "validation_scenes": 2},
    "training": {
        "epochs": 3,
        "learning_rate": 1e-3,
        "architecture": {"start_epoch": 1},
        "accelerator": "cpu",
        "workers": 0,
        "checkpoint_minutes": 0,
    },
    "analysis": {"images": 4},
    "timing": {"repeats": 2, "warm_up": 1, "steps": 1, "batch_sizes": [1]},
}
# Records the SLURM job of each command.
COMMAND = """#!/usr/bin/env bash
echo "$1 ${{SLURM_JOB_ID:-none}} ${{SLURM_STEP_ID:-none}}" >> {calls}
exec {python} -m naslora "$@"
"""
# A second profile for this cluster, besides `slurm`.
SITE = {
    "default-resources": {"slurm_partition": "gpu"},
    "set-resources": {"pretrain": {"mem_mb": 1900, "runtime": 17}},
    "set-threads": {"pretrain": 2},
    "slurm-init-seconds-before-status-checks": 2,
    "slurm-keep-successful-logs": True,
}
LIMIT_S = 900
# Waits for a run; returns its receipt, and the numbers of its SLURM jobs.
Ending = Callable[[], tuple[Receipt, list[str]]]


@dataclass(frozen=True)
class Slurm:
    """The running SLURM."""

    orders: IO[str]

    def order(self, line: str) -> None:
        """Send an order to `slurm.py`."""
        print(line, file=self.orders, flush=True)

    def ask(self, *command: str) -> list[str]:
        """The output lines of one of SLURM's commands."""
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout.splitlines()

    def states(self) -> dict[str, str]:
        """The states of all jobs so far, by number."""
        lines = self.ask("squeue", "--noheader", "--states=all", "--format=%i %T")
        return dict(line.split() for line in lines)

    def shorten(self, job: str, seconds: int) -> None:
        """Limit a running job to `seconds` from now."""
        self.ask("scontrol", "update", f"JobId={job}", f"EndTime=now+{seconds}seconds")


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """A SLURM for this session, which leaves nothing behind."""
    if obstacle := runpy.run_path(str(SLURM))["obstacle"]():
        pytest.skip(obstacle)
    folder = tmp_path_factory.mktemp("slurm")
    process = subprocess.Popen(
        [sys.executable, str(SLURM), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        said = process.stdout.readline().strip()
        if said.startswith("another"):
            pytest.skip(f"a SLURM for tests: {said}")
        assert said == "ready"
        yield Slurm(process.stdin)
    finally:
        process.stdin.close()
        process.wait(60)


class Project:
    """A copy of the project with the small study."""

    ON_SLURM = ("--profile", "slurm", "--profile", "site")

    def __init__(self, root: Path) -> None:
        self.root = root
        self.results = root / "results" / "rehearsal"
        self.calls = root / "calls.txt"

    @classmethod
    def new(cls, root: Path) -> Project:
        copy_project(root)
        project = cls(root)
        (root / "site").mkdir()
        for path, content in (("config/rehearsal.yaml", STUDY), ("site/config.yaml", SITE)):
            (root / path).write_text(yaml.safe_dump(content), encoding="utf-8")
        return project

    def copy(self, root: Path) -> Project:
        shutil.copytree(self.root, root, symlinks=True)
        (root / self.calls.name).unlink()
        return Project(root)

    def jobs(self) -> list[str]:
        """The numbers of the SLURM jobs whose commands have begun."""
        lines = self.calls.read_text(encoding="utf-8").splitlines()
        return sorted({line.split()[1] for line in lines})

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start Snakemake; its output goes to `output.txt`."""
        command = self.root / "bin" / "naslora"
        command.parent.mkdir(exist_ok=True)
        text = COMMAND.format(calls=self.calls, python=sys.executable)
        command.write_text(text, encoding="utf-8")
        command.chmod(0o755)
        path = f"{command.parent}{os.pathsep}{os.environ['PATH']}"
        usual = {"PATH": path, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        usual["GIT_DIR"] = os.devnull  # tables show the revision, which a commit would change
        with (self.root / "output.txt").open("w") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "snakemake", *arguments],
                cwd=self.root,
                env={**os.environ, **usual, **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def end(self, process: subprocess.Popen[str]) -> str:
        """Wait for Snakemake to end successfully.

        Returns:
            Its output.
        """
        try:
            code = process.wait(LIMIT_S)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        said = (self.root / "output.txt").read_text(encoding="utf-8")
        assert code == 0, said + self._logs()
        return said

    def _logs(self) -> str:
        files = sorted(self.root.glob("results/slurm-logs/**/*.log"))
        return "\n".join(f"== {f}\n{f.read_text(errors='replace')[-3000:]}" for f in files)

    def snakemake(self, *arguments: str, **environment: str) -> str:
        return self.end(self.start(*arguments, **environment))

    def tables(self) -> dict[str, bytes]:
        """All tables except that of timings, which differ between runs."""
        paths = sorted((self.results / "tables").iterdir())
        varying = ("table5", "sources")
        return {path.name: path.read_bytes() for path in paths if path.stem not in varying}

    def run(self, variant: str, seed: int) -> Path:
        return self.results / "runs" / "kvasir" / variant / f"seed{seed}"

    def training(self, run: tuple[str, int]) -> str:
        """The target of a run's training."""
        return str((self.run(*run) / "training.json").relative_to(self.root))

    def receipt(self, variant: str, seed: int) -> Receipt:
        return read_receipt(self.run(variant, seed) / "training.json")

    def owner(self, variant: str, seed: int) -> dict[str, Any]:
        """The owner of a run, from its file."""
        path = self.run(variant, seed) / "owner.json"
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    @staticmethod
    def soon(condition: Callable[[], object], seconds: float = 400) -> None:
        """Wait until a condition is true."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.02)

    def catch(self, runs: Sequence[tuple[str, int]]) -> dict[tuple[str, int], dict[str, Any]]:
        """Pause each training's process as soon as it has saved a step.

        Args:
            runs: variant and seed of each.

        Returns:
            The owner of each run.
        """
        owners: dict[tuple[str, int], dict[str, Any]] = {}

        def all_caught() -> bool:
            for run in runs:
                if run not in owners and any(self.run(*run).glob("checkpoint-*")):
                    owners[run] = self.owner(*run)
                    os.kill(owners[run]["process"], signal.SIGSTOP)
                    assert not (self.run(*run) / "training.json").exists()
            return len(owners) == len(runs)

        self.soon(all_caught)
        return owners


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The small study, run without SLURM."""
    project = Project.new(tmp_path_factory.mktemp("local") / "project")
    project.snakemake("--profile", "local", "all_tables")
    return project


@pytest.fixture(scope="session")
def on_cluster(
    slurm: Slurm, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Project:
    """The same on SLURM, with a second profile for this cluster."""
    project = Project.new(tmp_path_factory.mktemp("cluster") / "project")
    process = project.start(*project.ON_SLURM, "all_tables")
    try:
        request.getfixturevalue("local")  # while SLURM's jobs wait for one another
        request.getfixturevalue("distributed")
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    project.end(process)
    return project


@pytest.fixture(scope="session")
def distributed(
    slurm: Slurm,
    local: Project,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, Ending]]:
    """One run in two processes: here, on one node and on two nodes. The values wait for its end."""
    folder = tmp_path_factory.mktemp("distributed")
    run = ("lora", 0)
    begun = []

    def begin(name: str, profiles: Sequence[str], training: str, **environment: str) -> Ending:
        project = local.copy(folder / name)
        options = (*profiles, project.training(run), "--config", f"training={training}")
        process = project.start(*options, **environment)
        begun.append(process)

        def end() -> tuple[Receipt, list[str]]:
            project.end(process)
            return project.receipt(*run), project.jobs()

        return end

    yield {
        "alone": begin("alone", ("--profile", "local"), "{devices: 2}"),
        "one node": begin("one", Project.ON_SLURM, "{devices: 2}"),
        # On a real cluster, the nodes' names resolve to their addresses.
        "two nodes": begin("two", Project.ON_SLURM, "{num_nodes: 2}", MASTER_ADDR="127.0.0.1"),
    }
    for process in begun:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
