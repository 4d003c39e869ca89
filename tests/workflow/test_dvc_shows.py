"""The output of `dvc metrics`, `dvc params` and `dvc plots`, and the contents of dvc.yaml."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from naslora.report.figures.catalogue import FIGURES, SUFFIXES, figures_of
from naslora.study.settings import load_study

if TYPE_CHECKING:
    from conftest import Project

# One worker runs all of these tests, so that the ledger is made once.
pytestmark = pytest.mark.xdist_group("dvc")

ROOT = Path(__file__).parents[2]
FOLDER = "results/${study}/"
LEDGER = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))


def outs(stage: str) -> dict[str, dict[str, bool]]:
    return {path: flags for out in LEDGER["stages"][stage]["outs"] for path, flags in out.items()}


def pictures(study: str, weights: bool | None) -> list[str]:
    """Names of a study's pictures: those made from weights and images, the others, or all."""
    settings = load_study(study, config=ROOT / "config")
    figures = figures_of(settings, weights=weights)
    return [picture.name for name in figures for picture in FIGURES[name].pictures(settings)]


def test_commands_are_targets_of_the_workflow() -> None:
    targets = re.findall(r"^rule (all_\w+):", (ROOT / "Snakefile").read_text(), re.MULTILINE)
    assert sorted(targets) == sorted(f"all_{stage}" for stage in LEDGER["stages"])
    for name, stage in LEDGER["stages"].items():
        command = stage["cmd"] if isinstance(stage["cmd"], str) else stage["cmd"][-1]
        expected = f"snakemake --profile ${{profile}} all_{name} --config study=${{study}}"
        assert command == expected


def test_every_stage_copies_its_results() -> None:
    folders = {
        "data": ("archives", "manifests"),
        "runs": ("backbone", "runs", "records"),
        "tables": ("tables", "metrics"),
        "figures": ("figures",),
    }
    for stage in LEDGER["stages"]:
        assert set(outs(stage)) == {f"{FOLDER}{folder}" for folder in folders[stage]}
        # Without `persist`, DVC would delete what Snakemake could have kept. All of it is cached.
        assert all(flags == {"persist": True} for flags in outs(stage).values())


def test_dvc_keeps_of_the_published_study_what_git_does_not() -> None:
    text = (ROOT / "results" / "sample" / "dvc.yaml").read_text(encoding="utf-8")
    stage = yaml.safe_load(text)["stages"]["runs"]
    assert stage["cmd"] == "snakemake --profile local all_runs --config study=sample"
    flags = {path: flags for out in stage["outs"] for path, flags in out.items()}
    assert set(flags) == {"results/sample/runs", "results/sample/records"}
    for path, one in flags.items():
        ignored = subprocess.run(["git", "check-ignore", "--quiet", path], cwd=ROOT).returncode == 0
        assert ignored == one.get("cache", True), path
        assert one["persist"]


def test_plots_are_pictures_that_show_no_images() -> None:
    without_images = {f"{FOLDER}figures/{name}.png" for name in pictures("rehearsal", False)}
    assert LEDGER["plots"]
    assert set(LEDGER["plots"]) <= without_images


def test_pictures_of_images_are_ignored_but_for_generated_ones(ledger: Project) -> None:
    def of(study: str, weights: bool | None = None) -> list[str]:
        names = pictures(study, weights)
        return [f"results/{study}/figures/{name}.{s}" for name in names for s in SUFFIXES]

    asked = [*of("sample"), *of("rehearsal")]
    answer = ledger.dvc(f"check-ignore {' '.join(asked)}")
    assert sorted(answer.text.split()) == sorted(of("sample", weights=True))


def test_numbers_and_pictures_without_a_network(ledger: Project, tmp_path: Path) -> None:
    project = ledger.copy(tmp_path / "project")
    metrics = project.records.parent / "metrics"
    for method, score in (("lora", 0.5), ("control_blank", 0.25)):
        scores = {"kvasir": {"S_measure": score, "E_measure": 0.3}}
        (metrics / f"{method}.json").write_text(json.dumps(scores))
    answer = project.dvc("commit --force tables")
    assert answer.code == 0, answer.text
    project.commit()
    (metrics / "lora.json").write_text(json.dumps({"kvasir": {"S_measure": 0.75}}))
    settings = project.root / "config" / "rehearsal.yaml"
    changed = yaml.safe_load(settings.read_text())
    changed["training"]["epochs"] += 1
    settings.write_text(yaml.safe_dump(changed))
    answer = project.dvc("metrics show", "metrics diff", "params diff", "plots show")
    assert answer.code == 0, answer.text
    lines = [line.split() for line in answer.text.splitlines()]
    assert ["Path", "kvasir.E_measure", "kvasir.S_measure"] in lines
    assert ["results/rehearsal/metrics/control_blank.json", "0.3", "0.25"] in lines
    assert ["results/rehearsal/metrics/lora.json", "-", "0.75"] in lines
    difference = ["results/rehearsal/metrics/lora.json", "kvasir.S_measure", "0.5", "0.75", "0.25"]
    assert difference in lines
    epochs = changed["training"]["epochs"]
    assert ["config/rehearsal.yaml", "training.epochs", str(epochs - 1), str(epochs)] in lines
    page = project.root / "dvc_plots" / "index.html"
    text = page.read_text()
    shown = re.findall(r'src="([^"]+)"', text)
    assert len(shown) == len(LEDGER["plots"])
    assert all((page.parent / source).is_file() for source in shown)
    assert "//" not in text.replace("<!DOCTYPE html>", "")
