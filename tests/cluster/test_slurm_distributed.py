"""Training in two processes, started by srun: on one node, and on two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Ending, Project, Slurm

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("slurm")]


def test_two_processes_on_one_node_and_on_two(
    slurm: Slurm, local: Project, distributed: dict[str, Ending]
) -> None:
    ended = {name: end() for name, end in distributed.items()}
    alone, one_node, two_nodes = (receipt for receipt, _ in ended.values())

    def shape(name: str) -> list[str]:
        """Nodes and cores of the one job."""
        (job,) = ended[name][1]
        return slurm.ask("squeue", "--noheader", "--states=all", "--format=%D %C", f"--jobs={job}")

    assert ended["alone"][1] == ["none"]
    assert shape("one node") == ["1 2"]
    assert shape("two nodes") == ["2 2"]
    assert alone.settings["training"]["devices"] == one_node.settings["training"]["devices"] == 2
    assert two_nodes.settings["training"]["num_nodes"] == 2
    losses = [[epoch["loss"] for epoch in run.history] for run in (alone, one_node, two_nodes)]
    assert losses[0] == losses[1] == losses[2]
    assert losses[0] != [epoch["loss"] for epoch in local.receipt("lora", 0).history]
    assert alone.adapter == one_node.adapter
