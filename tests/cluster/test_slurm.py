"""The profile `slurm` on a real SLURM gives the same tables, byte for byte, as a local run."""

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
    assert {"prepare", "pretrain", "batch", "time", "table", "figure", "report"} == set(commands)
    assert [call for call in calls if "none" in call] == []


def test_runs_with_one_seed_share_a_slurm_job(on_cluster: Project) -> None:
    calls = [line.split() for line in on_cluster.calls.read_text().splitlines()]
    batches = [call[1] for call in calls if call[0] == "batch"]
    assert len(batches) == len(set(batches)) == 2
    assert len(list(on_cluster.results.glob("runs/*/*/*/training.json"))) == 6


def test_a_second_profile_says_partition_memory_and_time(slurm: Slurm, on_cluster: Project) -> None:
    asked = {}
    jobs = f"--jobs={','.join(on_cluster.jobs())}"
    for line in slurm.ask("squeue", "--noheader", "--states=all", "--format=%k %P %m %l %C", jobs):
        comment, *resources = line.split()
        asked[comment] = resources
    assert asked["rule_pretrain"] == ["gpu", "1900M", "17:00", "2"]
    assert {resources[0] for resources in asked.values()} == {"gpu"}
    batch = next(value for key, value in asked.items() if key.startswith("rule_batch"))
    assert batch[1] == "3000M"
    assert batch[3] == "1"


def test_logs_lie_with_the_results(on_cluster: Project) -> None:
    assert (on_cluster.results / "logs" / "batch" / "kvasir" / "seed1.log").is_file()
    logs = {path.parent.name for path in on_cluster.root.glob("results/slurm-logs/*/*.log")}
    assert "rule_pretrain" in logs


def test_second_run_does_nothing(on_cluster: Project) -> None:
    assert "Nothing to be done" in on_cluster.snakemake("--profile", "slurm", "all_tables")
