"""Training in two processes, started by srun: on one node, and on two."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Project, Slurm

    from naslora.records import Receipt

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("slurm")]


def training(
    project: Project, profiles: list[str], settings: str, **environment: str
) -> Callable[[], Receipt]:
    """Begin one run with other settings, all else being there; returns how to wait for it."""
    path = project.run("lora", 0) / "training.json"
    target = str(path.relative_to(project.root))
    options = [word for profile in profiles for word in ("--profile", profile)]
    process = project.start(*options, target, "--config", f"training={settings}", **environment)

    def ended() -> Receipt:
        project.end(process)
        return project.receipt("lora", 0)

    return ended


def test_two_processes_on_one_node_and_on_two(
    slurm: Slurm, on_cluster: Project, local: Project, tmp_path: Path
) -> None:
    before = set(slurm.states())
    site = ["slurm", "site"]
    begun = [
        training(local.copy(tmp_path / "local"), ["local"], "{devices: 2}"),
        training(on_cluster.copy(tmp_path / "one"), site, "{devices: 2}"),
        # A real cluster's nodes have names that lead to them.
        training(
            on_cluster.copy(tmp_path / "two"), site, "{num_nodes: 2}", MASTER_ADDR="127.0.0.1"
        ),
    ]
    alone, one_node, two_nodes = (ended() for ended in begun)
    shapes = [
        slurm.ask("squeue", "--noheader", "--states=all", "--format=%D %C", f"--jobs={job}")[0]
        for job in set(slurm.states()) - before
    ]
    assert sorted(shapes) == ["1 2", "2 2"]  # nodes and cores
    assert alone.settings["training"]["devices"] == one_node.settings["training"]["devices"] == 2
    assert two_nodes.settings["training"]["num_nodes"] == 2
    losses = [[epoch["loss"] for epoch in run.history] for run in (alone, one_node, two_nodes)]
    assert losses[0] == losses[1] == losses[2]
    assert losses[0] != [epoch["loss"] for epoch in local.receipt("lora", 0).history]
    assert alone.adapter == one_node.adapter
