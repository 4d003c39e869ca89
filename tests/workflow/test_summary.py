"""The summary at the end of a run."""

from __future__ import annotations

import runpy
from pathlib import Path

from naslora.study.settings import load_study
from naslora.workflow.summary import results_text


def test_scores_and_places_are_shown(tmp_path: Path) -> None:
    kit = runpy.run_path(str(Path(__file__).parents[1] / "report" / "conftest.py"))
    changes = {"tasks": ["kvasir", "leaf"], "methods": ["lora", "decoder_only"], "networks": []}
    study = load_study("rehearsal", {**changes, "results": str(tmp_path)})
    for task, variant, seed in study.runs():
        scores = kit["scores_of"](task, 0.8 if variant == "lora" else 0.5)
        kit["write_run"](study, variant, seed, scores, task=task, images=5)
    (tmp_path / "rehearsal" / "tables").mkdir()
    text = results_text(study)
    assert "80.0" in text
    assert "50.0" in text
    assert text.splitlines()[-1] == f"tables: {tmp_path}/rehearsal/tables"
    assert "figures:" not in text
