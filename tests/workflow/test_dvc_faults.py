"""Kills, collisions and read-only disks, in the pipeline and in DVC."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Project

# One worker runs all of these tests, so that the ledger is made once.
pytestmark = pytest.mark.xdist_group("dvc")

WEIGHTS = 400
PATIENCE_S = 60


def wait_until(happened: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.001)


def start(project: Project, *command: str, **environment: str) -> subprocess.Popen[bytes]:
    """Start a Python module as a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=project.root,
        env=project.environment(**environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def test_a_pull_that_was_killed_is_taken_up_again(ledger: Project, tmp_path: Path) -> None:
    project = ledger.copy(tmp_path / "project")
    runs = project.records.parent / "runs"
    for number in range(WEIGHTS):
        (runs / f"{number}.safetensors").write_bytes(number.to_bytes(2, "big") * 5000)
    answer = project.dvc(
        "commit --force", f"remote add --default folder {tmp_path / 'remote'}", "push"
    )
    assert answer.code == 0, answer.text
    project.commit()
    clone = project.clone(tmp_path / "clone")
    cache = clone.root / ".dvc" / "cache" / "files" / "md5"
    pull = start(clone, "dvc", "pull")
    wait_until(lambda: len(files(cache)) > 20)
    kill(pull)
    pulled = clone.records.parent / "runs"
    assert not files(pulled) >= files(runs)
    answer = clone.dvc("pull", "status")
    assert answer.code == 0, answer.text
    assert "Data and pipelines are up to date." in answer.text
    assert {name: (pulled / name).read_bytes() for name in files(runs)} == {
        name: (runs / name).read_bytes() for name in files(runs)
    }


def test_two_pipelines_at_once_and_a_kill(ledger: Project, tmp_path: Path) -> None:
    """The second one ends at once; after the first is killed, its results are kept."""
    project = ledger.copy(tmp_path / "project")
    project.calls()
    (project.records.parent / "runs" / "kvasir" / "lora" / "seed0" / "training.json").unlink()
    (project.records / "kvasir" / "lora" / "seed0.json").unlink()
    calls = project.root / "calls.txt"
    first = start(project, "snakemake", "--profile", "local", SLEEP="60")
    wait_until(lambda: calls.is_file() and "train kvasir" in calls.read_text())
    second = project.snakemake("--profile", "local")
    assert second.code == 1
    assert "Directory cannot be locked" in second.text
    assert "--unlock" in second.text
    kill(first)
    project.calls()
    unlocked, resumed = project.snakemakes(["--unlock"], [])
    assert (unlocked.code, resumed.code) == (0, 0), resumed.text
    made = {call.split()[0] for call in project.calls()}
    assert made == {"train", "evaluate", "table", "figure", "report"}


def test_results_that_cannot_be_written(
    ledger: Project, tmp_path: Path, mounted: Callable[[int], Path]
) -> None:
    project = ledger.copy(tmp_path / "project")
    disk = mounted(8192)
    (project.root / "results").rename(tmp_path / "results")
    subprocess.run(["cp", "-a", str(tmp_path / "results"), str(disk)], check=True)
    (project.root / "results").symlink_to(disk / "results")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    before = files(disk)
    nothing, something = project.snakemakes([], ["--config", "training={epochs: 9}"])
    assert nothing.code == 0
    assert "Nothing to be done" in nothing.text
    assert something.code == 1
    assert "cannot write settings.json: Read-only file system" in something.text
    assert "Traceback (most recent call last)" not in something.text
    assert files(disk) == before
