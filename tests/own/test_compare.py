"""A comparison of methods: what it asks of Snakemake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from naslora.core.errors import WorkflowError
from naslora.own import compare as comparing
from naslora.own.compare import compare
from naslora.own.example import write_example

Calls = list[tuple[str, dict[str, Any], str, str]]
METHODS = ["lora", "mona"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_example(tmp_path / "leaves", count=14)
    return tmp_path / "leaves"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Calls of Snakemake, which end with an error."""
    made: Calls = []

    def run_snakemake(study: str, settings: dict[str, Any], profile: str, target: str) -> int:
        made.append((study, settings, profile, target))
        return 3

    monkeypatch.setattr(comparing, "run_snakemake", run_snakemake)
    return made


@pytest.mark.parametrize("profile", ["local", "slurm", "profiles/mine"])
def test_the_profile_reaches_snakemake(
    folder: Path, tmp_path: Path, calls: Calls, profile: str
) -> None:
    """On a cluster, the machine that submits decides nothing about those that train."""
    told: list[str] = []
    with pytest.raises(WorkflowError, match="Snakemake's exit code is 3"):
        compare(folder, tmp_path / "out", METHODS, [0, 1], profile=profile, log=told.append)
    ((study, settings, given, target),) = calls
    assert (study, given, target) == ("own", profile, "all_tables")
    assert settings["methods"] == METHODS
    assert settings["seeds"] == [0, 1]
    assert Path(settings["tasks"][0]).is_absolute()
    of_hardware = {"training.precision", "training.batch_size"} & {*settings}
    assert len(of_hardware) == (2 if profile == "local" else 0)
    assert any(line.startswith("cpu: images of") for line in told) == (profile == "local")
