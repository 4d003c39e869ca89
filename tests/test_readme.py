"""Commands, counts and links in README.md and docs/methods.md are correct."""

from __future__ import annotations

import re
from pathlib import Path

from naslora.cli import app
from naslora.planning.estimate import make_plan
from naslora.planning.report import plan_text
from naslora.report.tables.parameters import count_parameters
from naslora.study.settings import load_study

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
METHODS = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")


def test_its_counts_are_the_programs() -> None:
    counted = {count.trainable for count in count_parameters("vit_h")}
    listed = [int(n.replace(",", "")) for n in re.findall(r"\| ([\d,]{7,}) \|", METHODS)]
    assert len(listed) == 12
    assert set(listed) <= counted


def test_its_files_exist_and_its_commands_too() -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", README)
    assert links
    for link in links:
        assert link.startswith("https://") or (ROOT / link).exists(), link
    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert set(re.findall(r"(?:`|^)naslora (\w+)", README, re.MULTILINE)) <= commands
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_its_hours_are_those_of_the_plan(tmp_path: Path) -> None:
    places = {"results": str(tmp_path), "archives": str(tmp_path)}
    plan = make_plan(load_study("paper", places, ROOT / "config"), ROOT / "config")
    printed = re.search(r"To come: ([\d,]+) GPU-hours", plan_text(plan, [1]))
    said = re.search(r"([\d,]+) V100 GPU-hours", README)
    assert printed
    assert said
    assert said[1] == printed[1]


def test_the_reports_path_is_printed_once() -> None:
    """By the workflow, at its end."""
    recipe = (ROOT / "Makefile").read_text("utf-8").partition("\ntables:")[2].partition("\n\n")[0]
    assert "snakemake" in recipe
    assert "report.html" not in recipe
