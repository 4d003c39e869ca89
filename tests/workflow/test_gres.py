"""Clusters with GPUs as `gres` only: the documentation's profile, and mistakes in its use."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from snakemake_executor_plugin_slurm.submit_string import get_submit_command
from snakemake_executor_plugin_slurm.utils import set_gres_string

from naslora.core.errors import SettingsError
from naslora.study.settings import load_study
from naslora.workflow.cluster import check_gpu_requests, prepare_submission
from naslora.workflow.resources import JobResources

ROOT = Path(__file__).parents[2]
RULES = ROOT / "workflow" / "rules"


def documented() -> dict[str, dict[str, Any]]:
    """The resources by rule that docs/how-to/cluster.md gives for such clusters."""
    text = (ROOT / "docs" / "how-to" / "cluster.md").read_text(encoding="utf-8")
    section = text.partition("## Clusters that offer GPUs only as `gres`")[2]
    block = re.search(r"```yaml\n(.*?)```", section, re.DOTALL)
    assert block
    found: dict[str, dict[str, Any]] = yaml.safe_load(block.group(1))["set-resources"]
    return found


class Resources(dict[str, Any]):
    def __getattr__(self, name: str) -> Any:
        return self[name]


def command(resources: dict[str, Any]) -> str:
    """The options of `sbatch`, as the plugin makes them."""
    names = ("run_uuid", "slurm_logfile", "comment_str", "account", "partition", "workdir")
    job = SimpleNamespace(resources=Resources(resources), threads=8, is_group=lambda: False)
    return str(get_submit_command(job, dict.fromkeys(names, ""))) + str(set_gres_string(job))


def test_the_documentation_names_every_rule_that_asks_for_gpus() -> None:
    asking = set()
    for path in RULES.glob("*.smk"):
        for rule in re.split(
            r"^ *(?:rule|checkpoint) ", path.read_text(encoding="utf-8"), flags=re.M
        ):
            if re.search(r"^\s+gpu=", rule, re.M):
                asking.add(rule.partition(":")[0])
    assert asking
    assert set(documented()) == asking


@pytest.mark.parametrize("rule", sorted(documented()))
def test_the_documented_profile_asks_sbatch_for_gres_alone(rule: str) -> None:
    line = command({"gpu": 1, "mem_mb": 64000, "runtime": 60, **documented()[rule]})
    assert "--gres=gpu:1" in line
    assert not re.search(r"--gpus|per-gpu", line)


def test_without_the_profile_gpus_are_asked_for_by_their_own_option() -> None:
    assert "--gpus=1" in command({"gpu": 1, "mem_mb": 64000, "runtime": 60})


def test_gpus_asked_for_twice_are_told_before_anything_is_submitted() -> None:
    check_gpu_requests(documented())
    check_gpu_requests({"train": {"runtime": 60}, "tables": {"gres": "scratch:1"}})
    asked = {"train": {"gres": "gpu:1"}, "evaluate": {"gres": "gpu:a100:1", "gpu": 1}}
    study = load_study("paper", config=ROOT / "config")
    with pytest.raises(SettingsError, match="rule evaluate, train: GPUs are asked for twice") as e:
        prepare_submission(study, None, asked)  # type: ignore[arg-type]
    assert "gpu to 0" in str(e.value.remedy)


@pytest.mark.parametrize("given", ["", "SLURM_GPUS", "SLURM_GPUS_PER_NODE"])
def test_srun_asks_for_gpus_as_the_job_did(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    study = load_study("paper", {"training": {"devices": 2}}, ROOT / "config")
    needs, run = JobResources(study), SimpleNamespace(variant="lora")
    for name in ("SLURM_GPUS", "SLURM_GPUS_PER_NODE", "SLURM_GPUS_PER_TASK"):
        monkeypatch.delenv(name, raising=False)
    assert needs.launcher(run) == ""
    monkeypatch.setenv("NASLORA_SLURM_JOB", "1")
    if given:
        monkeypatch.setenv(given, "2")
    line = needs.launcher(run)
    assert "--ntasks=2" in line
    assert "--ntasks-per-node=2" in line
    assert ("--gpus-per-node=2" in line) == bool(given)
