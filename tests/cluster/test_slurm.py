"""The profile `slurm` on a real SLURM: the tables are those of a run without it, to the byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Project, Slurm

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("slurm")]


def test_tables_are_those_of_a_local_run(on_cluster: Project, local: Project) -> None:
    expected = local.tables()
    assert {"table1.csv", "table1.md", "table1.tex", "table4.csv", "status.csv"} <= set(expected)
    assert on_cluster.tables() == expected


def test_every_command_ran_in_a_job(on_cluster: Project) -> None:
    calls = [line.split() for line in on_cluster.calls.read_text().splitlines()]
    commands = [call[0] for call in calls]
    assert commands.count("train") == commands.count("evaluate") == 6
    assert {"generate", "prepare", "pretrain", "controls", "table", "figure"} <= set(commands)
    assert [call for call in calls if "none" in call] == []


def test_short_jobs_share_a_slurm_job(on_cluster: Project) -> None:
    calls = [line.split() for line in on_cluster.calls.read_text().splitlines()]
    jobs = {call[1] for call in calls if call[0] in ("train", "evaluate")}
    assert len(jobs) == 2
    assert len({call[1] for call in calls if call[0] in ("generate", "prepare", "controls")}) == 1


def test_a_second_profile_says_partition_memory_and_time(slurm: Slurm, on_cluster: Project) -> None:
    asked = {}
    jobs = f"--jobs={','.join(on_cluster.jobs())}"
    for line in slurm.ask("squeue", "--noheader", "--states=all", "--format=%k %P %m %l %C", jobs):
        comment, *resources = line.split()
        asked[comment] = resources
    assert asked["rule_pretrain"] == ["gpu", "1900M", "17:00", "2"]
    partitions = {resources[0] for resources in asked.values()}
    assert partitions == {"gpu"}
    runs = next(value for key, value in asked.items() if key.startswith("rule_runs_"))
    assert runs[1:] == ["3000M", "2:15:00", "1"]  # three runs one after the other, on one core


def test_logs_lie_with_the_results(on_cluster: Project) -> None:
    assert (on_cluster.results / "logs" / "train" / "kvasir" / "lora" / "seed1.log").is_file()
    logs = {path.parent.name for path in on_cluster.root.glob("results/slurm-logs/*/*.log")}
    assert "rule_pretrain" in logs


def test_second_run_does_nothing(on_cluster: Project) -> None:
    assert "Nothing to be done" in on_cluster.snakemake("--profile", "slurm", "all_tables")
