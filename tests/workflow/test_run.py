from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from naslora.workflow.run import snakemake_command, workflow_folder


def test_settings_reach_snakemake_as_nested_yaml() -> None:
    command = snakemake_command(
        "paper", {"training.epochs": 5, "training.precision": "32-true", "tasks": ["leaf"]},
        "local", "all_tables", ["--dry-run"],
    )  # fmt: skip
    begin, end = command.index("--config"), command.index("--")
    pairs = dict(text.split("=", 1) for text in command[begin + 1 : end])
    assert {key: yaml.safe_load(value) for key, value in pairs.items()} == {
        "training": {"epochs": 5, "precision": "32-true"},
        "tasks": ["leaf"],
        "study": "paper",
    }
    assert command[end + 1 :] == ["all_tables"]
    assert command.index("--dry-run") < begin


@pytest.mark.parametrize("name", ["local", "slurm"])
def test_shipped_profiles_are_found_from_anywhere(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = snakemake_command("paper", {}, name, "all_runs")
    assert Path(command[command.index("--profile") + 1], "config.yaml").is_file()
    assert Path(command[command.index("--snakefile") + 1]) == workflow_folder() / "Snakefile"


def test_a_profile_of_ones_own_is_left_to_snakemake() -> None:
    command = snakemake_command("paper", {}, "my_cluster", "all_runs")
    assert command[command.index("--profile") + 1] == "my_cluster"
