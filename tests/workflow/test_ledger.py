"""dvc.yaml is a pipeline that DVC understands, of targets that the Snakefile has."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
STAGES = ["data", "runs", "tables", "figures"]


def test_stages_are_listed_by_dvc(tmp_path: Path) -> None:
    for name in (".dvc", "config", "workflow"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("tmp", "cache"))
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    listed = subprocess.run(
        [sys.executable, "-m", "dvc", "stage", "list", "--name-only"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert listed.stdout.split() == STAGES


def test_commands_are_targets_of_the_workflow() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    targets = re.findall(r"^rule (all_\w+):", (ROOT / "Snakefile").read_text(), re.MULTILINE)
    assert sorted(targets) == sorted(f"all_{stage}" for stage in STAGES)
    for name, stage in stages.items():
        assert f" all_{name} " in stage["cmd"]
        assert stage["cmd"].startswith("snakemake --profile ${profile} ")
        # Without this, DVC would delete what Snakemake could have kept.
        assert all(out["persist"] for outs in stage["outs"] for out in outs.values())
