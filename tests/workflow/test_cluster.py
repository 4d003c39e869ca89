"""The profile `slurm`, with stand-ins for SLURM: its checks, and the requested resources."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from naslora.core.errors import ArchiveError, CheckpointError
from naslora.study.settings import load_study
from naslora.workflow.preflight import check_inputs

if TYPE_CHECKING:
    from conftest import Project

pytestmark = pytest.mark.xdist_group("workflow")
CONFIG = Path(__file__).parents[2] / "config"
PAPER = ("--config", "study=paper", "tasks=[leaf,road]", "archives=archives")
# Runs Snakemake for each line of arguments, and prints the resources of each planned job.
RESOURCES = """
import json, sys
from snakemake.cli import main
from snakemake.jobs import Job

def show(job, *args, **kwargs):
    names = [name for name in job.resources.keys() if name not in ("tmpdir", "_nodes")]
    asked = {name: job.resources[name] for name in sorted(names)}
    sys.stdout.write(f"asks {job.rule.name} {asked}\\n")  # whole, whatever other threads write

Job.log_info = show
for arguments in json.loads(sys.argv[1]):
    print("line")
    try:
        main(["-n", "--cores", "64", "--profile", "slurm", *arguments])
    except SystemExit as end:
        assert not end.code
"""
SPREAD = "training={devices: 4, num_nodes: 2}"
VARIANT = "variants={spread: {method: lora, tasks: [leaf], training: {devices: 2}}}"
LINES = {
    "plain": PAPER,
    "third attempt": ("--attempt", "3", *PAPER),
    "options": (
        *PAPER,
        *("--default-resources", "slurm_partition=gpu", "slurm_account=me"),
        *("--set-resources", "train:runtime=60", "train:slurm_partition=long"),
        *("--set-threads", "train=3"),
    ),
    "second profile": ("--profile", "site", *PAPER),
    "several processes": (*PAPER, SPREAD),
    "a variant's own": (*PAPER, VARIANT),
}
SITE = "default-resources: {slurm_partition: gpu}\nset-resources: {train: {runtime: 33}}\n"
Asked = dict[str, dict[str, set[str]]]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    """The resources that each rule's jobs request in a dry run, for each of `LINES`."""
    kit = runpy.run_path(str(Path(__file__).with_name("conftest.py")))
    project: Project = kit["Project"].new(tmp_path_factory.mktemp("asked") / "project")
    (project.root / "site").mkdir()
    (project.root / "site" / "config.yaml").write_text(SITE, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", RESOURCES, json.dumps(list(LINES.values()))],
        cwd=project.root,
        env=project.environment(),
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    found: Asked = {}
    for name, part in zip(LINES, done.stdout.split("line\n")[1:], strict=True):
        of = found.setdefault(name, {})
        for line in part.splitlines():
            if line.startswith("asks "):
                _, rule, resources = line.split(" ", 2)
                of.setdefault(rule, set()).add(resources)
    return found


def stand_in(project: Project, name: str, text: str) -> None:
    path = project.root / "bin" / name
    path.write_text(f"#!/usr/bin/env bash\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def with_slurm(fresh: Project) -> Project:
    """A project that finds SLURM's commands; `sbatch` must not be called."""
    for name in ("sinfo", "sacct", "squeue", "scontrol"):
        stand_in(fresh, name, "exit 0")
    stand_in(fresh, "sbatch", "echo reached >> submitted.txt; exit 1")
    return fresh


@pytest.mark.parametrize(
    ("commands", "said"),
    [
        ((), "the command sbatch is not on the PATH"),
        (
            ("sbatch", "sinfo", "sacct", "squeue", "scontrol"),
            "SLURM does not answer: slurmctld is down",
        ),
    ],
)
def test_without_slurm_it_ends_at_once(
    fresh: Project, commands: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("bash", "env", "which", "git"):
        (fresh.root / "bin" / name).symlink_to(str(shutil.which(name)))
    for name in commands:
        stand_in(fresh, name, "echo slurmctld is down >&2; exit 1")
    monkeypatch.setenv("PATH", "")
    answer = fresh.snakemake("--profile", "slurm")
    assert answer.code == 1
    assert said in answer.text
    assert "what to do: " in answer.text
    assert "Traceback" not in answer.text
    assert fresh.calls() == []


def test_a_missing_checkpoint_is_told_before_anything_is_submitted(with_slurm: Project) -> None:
    answer = with_slurm.snakemake("--profile", "slurm", *PAPER)
    assert answer.code == 1
    assert "the official vit_h checkpoint is missing" in answer.text
    assert "naslora fetch --backbone vit_h" in answer.text
    assert not (with_slurm.root / "submitted.txt").exists()


def test_missing_archives_are_told_before_anything_is_submitted(with_slurm: Project) -> None:
    answer = with_slurm.snakemake("--profile", "slurm", "all_data", *PAPER)
    assert answer.code == 1
    assert "2 of 2 archives of study paper are missing" in answer.text
    assert str(with_slurm.root / "archives" / "leaf-disease-segmentation.zip") in answer.text
    assert "Traceback" not in answer.text
    assert not (with_slurm.root / "submitted.txt").exists()


def test_a_truncated_checkpoint_is_told(tmp_path: Path) -> None:
    (tmp_path / "sam_vit_h_4b8939.pth").write_bytes(b"half of it")
    study = load_study("paper", {"sam.checkpoints": str(tmp_path)}, CONFIG)
    with pytest.raises(CheckpointError, match="10 bytes instead of 2,564,550,879"):
        check_inputs(study, [], weights=True, config=CONFIG)


def test_what_could_be_downloaded_is_asked_for_too(tmp_path: Path) -> None:
    study = load_study("paper", {"archives": str(tmp_path)}, CONFIG)
    with pytest.raises(ArchiveError) as caught:
        check_inputs(study, ["kvasir"], weights=False, config=CONFIG)
    assert "naslora data --study paper" in str(caught.value)
    assert str(caught.value).endswith("then run: the same command again")
    check_inputs(study, [], weights=False, config=CONFIG)


def test_shipped_weights_and_generated_images_need_no_download(tmp_path: Path) -> None:
    study = load_study("rehearsal", {"results": str(tmp_path)}, CONFIG)
    check_inputs(study, study.tasks, weights=True, config=CONFIG)


def test_rules_ask_for_what_they_need(asked: Asked) -> None:
    (training,) = asked["plain"]["train"]
    assert "'_cores': 8, " in training
    assert "'gpu': 1, " in training
    assert "'mem_mb': 64000, " in training
    assert "'runtime': 2880" in training
    for name in ("mpi", "nodes", "tasks", "slurm_extra"):
        assert f"'{name}'" not in training
    (preparation,) = asked["plain"]["prepare"]
    assert "'runtime': 120" in preparation
    assert "'gpu'" not in preparation


def test_later_attempts_ask_for_more(asked: Asked) -> None:
    (training,) = asked["third attempt"]["train"]
    assert "'mem_mb': 192000, " in training
    assert "'runtime': 8640" in training


def test_options_win_over_the_rules(asked: Asked) -> None:
    found = asked["options"]
    (training,) = found["train"]
    assert "'_cores': 3, " in training
    assert "'runtime': 60" in training
    assert "'slurm_partition': 'long'" in training
    others = [text for rule in found.keys() - {"train", "all_tables"} for text in found[rule]]
    assert all("'slurm_partition': 'gpu'" in text for text in others)
    assert all("'slurm_account': 'me'" in text for text in others)


def test_a_second_profile_wins_over_ours(asked: Asked) -> None:
    (training,) = asked["second profile"]["train"]
    assert "'runtime': 33" in training
    assert "'slurm_partition': 'gpu'" in training
    assert "'mem_mb': 64000, " in training


def test_runs_of_several_processes_ask_for_tasks_and_nodes(asked: Asked) -> None:
    (training,) = asked["several processes"]["train"]
    assert "'gpu': 8, " in training
    assert "'mem_mb': 256000, " in training  # of a node
    assert "'mpi': 'srun'" in training
    assert "'nodes': 2" in training
    assert "'tasks': 8" in training
    assert "'slurm_extra': '--ntasks-per-node=4 --gpus-per-node=4'" in training
    (evaluation,) = asked["several processes"]["evaluate"]
    assert "'gpu': 1, " in evaluation
    assert "'mpi'" not in evaluation


def test_a_variant_may_have_devices_of_its_own(asked: Asked) -> None:
    trainings = asked["a variant's own"]["train"]
    assert {text.count("'mpi': 'srun'") for text in trainings} == {0, 1}
