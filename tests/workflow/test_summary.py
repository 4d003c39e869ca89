"""What is shown at the end of a run."""

from __future__ import annotations

import runpy
from pathlib import Path

from naslora.study.settings import load_study
from naslora.workflow.summary import results_text


def test_methods_are_ranked_over_tasks(tmp_path: Path) -> None:
    """LoRA is better on one task, decoder_only on none; a method that lacks a task is left out."""
    kit = runpy.run_path(str(Path(__file__).parents[1] / "report" / "conftest.py"))
    changes = {"tasks": ["kvasir", "leaf"], "methods": ["lora", "decoder_only", "vera"]}
    study = load_study("rehearsal", {**changes, "networks": [], "results": str(tmp_path)})
    for task, variant, seed in study.runs():
        scores = kit["scores_of"](task, 0.8 if variant == "lora" else 0.5)
        if (task, variant) != ("leaf", "vera"):
            kit["write_run"](study, variant, seed, scores, task=task, images=5)
    (tmp_path / "rehearsal" / "tables").mkdir()
    lines = results_text(study).splitlines()
    rows = [line.split() for line in lines if line.endswith("of 2 tasks")]
    assert [row[-5:] for row in rows] == [
        ["1.00", "2", "of", "2", "tasks"],
        ["2.00", "0", "of", "2", "tasks"],
    ]
    assert lines[-1] == f"tables: {tmp_path}/rehearsal/tables"
