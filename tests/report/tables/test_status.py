"""The table of statuses: counts of runs, failures and records that are left out."""

from __future__ import annotations

from typing import Any

import pandas as pd

from naslora.report.tables.catalogue import write_tables
from naslora.study.layout import Layout
from naslora.study.records import CONTROLS
from naslora.study.settings import Study


def test_status_counts_every_run(copied_study: Study, write_run: Any) -> None:
    layout = Layout.of(copied_study)
    write_run(copied_study, "lora", 0, task="sbu", status="diverged", message="the loss is nan")
    write_run(copied_study, "lora", 1, task="sbu", status="failed")
    layout.record("leaf", "channels_1_of_3", 1).unlink()
    layout.record("leaf", "lora", 1).write_text("{")
    write_tables(copied_study, ["status"])
    frame = pd.read_csv(layout.table("status", "csv")).set_index(["task", "variant"])
    assert frame["planned"].sum() == len(copied_study.runs()) + len(CONTROLS) * len(
        copied_study.tasks
    )
    counted = frame[["done", "diverged", "failed", "interrupted", "left_out", "missing"]]
    assert (counted.sum(axis=1) == frame["planned"]).all()
    assert counted.sum().tolist() == [
        len(frame) * 2 - len(CONTROLS) * len(copied_study.tasks) - 4,
        1,
        1,
        0,
        1,
        1,
    ]
    assert frame.loc[("leaf", "channels_1_of_3"), "missing"] == 1
    assert ("kvasir", "channels_1_of_3") not in frame.index
    text = layout.table("status", "md").read_text()
    assert "- sbu, lora, seed 0: diverged: the loss is nan" in text
    assert "- sbu, lora, seed 1: failed: no message" in text
    assert "- `records/leaf/lora/seed1.json`: this record is damaged" in text
    [line] = [line for line in text.splitlines() if line.startswith("| lora ") or "| LoRA " in line]
    cells = [cell.strip() for cell in line.strip("|").split("|")][1:]
    assert cells[copied_study.tasks.index("sbu")] == "0/2 (1 diverged, 1 failed)"
    assert cells[copied_study.tasks.index("leaf")] == "1/2 (1 left out)"
    assert cells[copied_study.tasks.index("kvasir")] == "2/2"


def test_status_of_a_study_without_any_record(study: Study) -> None:
    write_tables(study, ["status"])
    frame = pd.read_csv(Layout.of(study).table("status", "csv"))
    assert frame["missing"].sum() == frame["planned"].sum() == 4 * 3 + len(CONTROLS)
