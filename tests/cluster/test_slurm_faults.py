"""Faults on a cluster, all in one run of the workflow, cost time but change no result.

Six trainings are started. As soon as one has saved a step, its process is paused, so that the fault
occurs in the middle of it; one asks for so little memory that it does not get that far.
`docs/faults.md` describes the outcome of each fault.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Project, Slurm

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("slurm")]

CANCELLED, HUNG = ("decoder_only", 0), ("decoder_only", 1)
LOST_NODE, TOO_SMALL = ("lora", 0), ("lora", 1)
WARNED, KILLED_BY_HAND = ("nas_lora", 0), ("nas_lora", 1)
PAUSED = (CANCELLED, HUNG, LOST_NODE, WARNED, KILLED_BY_HAND)
RUNS = (*PAUSED, TOO_SMALL)
WARNING_S = 40


def of(run: tuple[str, int]) -> str:
    """An expression that is true for the first attempt at a run."""
    return f"(attempt == 1 and (wildcards.variant, wildcards.seed) == ('{run[0]}', '{run[1]}'))"


class Faults:
    """The run of the workflow, and what was recorded about it."""

    def __init__(self, slurm: Slurm, project: Project) -> None:
        self.slurm, self.project = slurm, project
        self.owners: dict[tuple[str, int], dict[str, Any]] = {}
        self.said = ""

    def job(self, run: tuple[str, int]) -> str:
        """SLURM's number of the first attempt at a run."""
        if run in self.owners:
            return str(self.owners[run]["job"])
        failed = re.search(
            rf"train kvasir {run[0]} seed{run[1]} failed: SLURM job (\d+)", self.said
        )
        assert failed is not None
        return failed[1]

    def log(self, run: tuple[str, int]) -> str:
        name = self.project.results / "logs" / "train" / "kvasir" / run[0] / f"seed{run[1]}.log"
        return name.read_text(encoding="utf-8")

    def resumed(self, run: tuple[str, int]) -> bool:
        """Whether the last attempt resumed from a checkpoint of an earlier one."""
        return bool(re.search(r"attempt \d resumes after epoch \d, step \d", self.log(run)))


@pytest.fixture(scope="module")
def faults(
    slurm: Slurm,
    on_cluster: Project,
    tmp_path_factory: pytest.TempPathFactory,
) -> Faults:
    project = on_cluster.copy(tmp_path_factory.mktemp("faults") / "project")
    shutil.rmtree(project.results / "tables")
    for run in RUNS:
        shutil.rmtree(project.run(*run))
    told = Faults(slurm, project)
    process = project.start(
        *(*project.ON_SLURM, *map(project.training, RUNS)),
        "--set-resources",
        f"train:mem_mb=300 if {of(TOO_SMALL)} else 3000",
        f"train:slurm_extra='--nodelist=node2' if {of(LOST_NODE)} else '--nodelist=node1'",
        SBATCH_SIGNAL=f"USR1@{WARNING_S}",
    )
    try:
        told.owners = project.catch(PAUSED)
        pids = {run: owner["process"] for run, owner in told.owners.items()}
        slurm.order("kill node2")
        slurm.ask("scancel", told.job(CANCELLED))
        os.kill(pids[KILLED_BY_HAND], signal.SIGKILL)
        slurm.shorten(told.job(HUNG), 5)
        slurm.shorten(told.job(WARNED), WARNING_S)
        project.soon(lambda: warned(pids[WARNED], signal.SIGUSR1))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pids[WARNED], signal.SIGCONT)
        project.soon(lambda: slurm.states()[told.job(LOST_NODE)] == "PENDING")
        # Its second start, on the other node, waits until the first process has ended.
        slurm.ask("scontrol", "update", f"JobId={told.job(LOST_NODE)}", "ReqNodeList=node1")
        project.soon(lambda: slurm.states()[told.job(LOST_NODE)] == "RUNNING")
        with contextlib.suppress(ProcessLookupError):
            os.kill(pids[LOST_NODE], signal.SIGKILL)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    told.said = project.end(process)
    slurm.order("start node2")
    tables = (project.results / "tables").relative_to(project.root)
    wanted = [f"{tables}/{name}" for name in ("table1.csv", "claims.json")]
    project.snakemake("--profile", "local", *wanted)
    return told


def warned(process: int, number: int) -> bool:
    """Whether a signal is pending for a paused process, or has ended it already."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except FileNotFoundError:
        return True
    masks = re.findall(r"^(?:Sig|Shd)Pnd:\s+(\w+)$", status, re.MULTILINE)
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


def test_the_tables_are_as_without_any_fault(local: Project, faults: Faults) -> None:
    assert faults.project.tables() == local.tables()


@pytest.mark.parametrize("run", RUNS)
def test_weights_and_losses_too(local: Project, faults: Faults, run: tuple[str, int]) -> None:
    ours, theirs = faults.project.receipt(*run), local.receipt(*run)
    assert ours.adapter == theirs.adapter
    assert [h["loss"] for h in ours.history] == [h["loss"] for h in theirs.history]


@pytest.mark.parametrize("run", PAUSED)
def test_nothing_is_done_twice(faults: Faults, run: tuple[str, int]) -> None:
    assert faults.project.receipt(*run).attempts >= 2
    assert faults.resumed(run)


@pytest.mark.parametrize(
    ("run", "state"),
    [
        (CANCELLED, "CANCELLED"),
        (HUNG, "TIMEOUT"),
        (TOO_SMALL, "FAILED"),
        (WARNED, "FAILED"),
        (KILLED_BY_HAND, "FAILED"),
    ],
)
def test_snakemake_repeats_the_others(faults: Faults, run: tuple[str, int], state: str) -> None:
    name, job = f"train kvasir {run[0]} seed{run[1]}", faults.job(run)
    assert faults.slurm.states()[job] == state
    assert f"{name} failed: SLURM job {job}\n" in faults.said
    assert f"{name} is started again" in faults.said


def test_slurm_itself_repeats_the_job_of_a_lost_node(faults: Faults) -> None:
    assert faults.slurm.states()[faults.job(LOST_NODE)] == "COMPLETED"
    assert f"train kvasir {LOST_NODE[0]} seed{LOST_NODE[1]} failed" not in faults.said
