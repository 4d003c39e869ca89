"""What runs, and what runs again, with a stand-in for the `naslora` command."""

from __future__ import annotations

import re
import runpy
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from naslora.report.figures.catalogue import figures_of
from naslora.report.tables.catalogue import TABLES, tables_of
from naslora.study.records import CONTROLS
from naslora.study.settings import load_study

if TYPE_CHECKING:
    from conftest import History, Project

# One worker runs all of these, so that the finished project is made once.
pytestmark = pytest.mark.xdist_group("workflow")

# What the fixture's study, two tasks and three methods, comes to; leaf has ablations of its own.
TASKS, METHODS, SEEDS = ("kvasir", "leaf"), ("lora", "nas_lora", "nas_pc_lora"), (0, 1)
ABLATIONS = ("layers_first_half", "layers_last_half", "channels_1_of_3")
LEAF_RUNS = (len(METHODS) + len(ABLATIONS)) * len(SEEDS)
RUNS = len(METHODS) * len(SEEDS) + LEAF_RUNS
ANALYSES = 3
DRAWN = {"figures": 1, "pictures": 1, "report": 1}
TIMED = {"timing": 1, "timing_tables": 1}
SHOWN = {"tables": 1, "timing_tables": 1, **DRAWN}
# generate, prepare, controls; pretrain; ...; tables
JOBS = 2 * 3 + 1 + 2 * RUNS + ANALYSES + 1 + len(DRAWN) + len(TIMED)
STUDY = load_study("paper", {"tasks": list(TASKS)}, Path(__file__).parents[2] / "config")
NAMES = " ".join(name for name in tables_of(STUDY) if TABLES[name].from_records)
TIMING_NAMES = " ".join(name for name in tables_of(STUDY) if not TABLES[name].from_records)
WRITTEN = [f"table {NAMES}", f"table {TIMING_NAMES}"]
FIGURES = " ".join(figures_of(STUDY, weights=False))


def write_records(root: Path) -> None:
    """Records of all runs and controls of the study in this project, with scores of their own."""
    kit = runpy.run_path(str(Path(__file__).parents[1] / "report" / "conftest.py"))
    study = load_study("rehearsal", {"results": str(root / "results")}, root / "config")
    runs = [(task, name, 0) for task in study.tasks for name in CONTROLS] + study.runs()
    for index, (task, variant, seed) in enumerate(runs):
        scores = kit["scores_of"](task, 0.3 + 0.01 * index)
        kit["write_run"](study, variant, seed, scores, task=task, images=5)


def test_first_run_does_every_job_once(history: History) -> None:
    commands = Counter(call.split()[0] for call in history.failed_calls)
    assert commands == {
        "generate": 2,
        "prepare": 2,
        "pretrain": 1,
        "train": RUNS,
        "evaluate": RUNS,
        "controls": 2,
        "table": len(WRITTEN),
        "analyse": ANALYSES,
        "time": 1,
        "figure": 2,
    }
    assert len(set(history.failed_calls)) == len(history.failed_calls)
    trained = {call for call in history.failed_calls if call.startswith("train ")}
    on_both = {f"train {t} {m} seed{s}" for t in TASKS for m in METHODS for s in SEEDS}
    assert trained == on_both | {f"train leaf {a} seed{s}" for a in ABLATIONS for s in SEEDS}


def test_finished_jobs_are_counted_with_the_time_left(history: History) -> None:
    lines = [line for line in history.failed.text.splitlines() if line.startswith("[")]
    counted = [re.match(rf"\[ *(\d+) of {JOBS}, about \d+ (s|min) left\] ", line) for line in lines]
    assert all(counted)
    # But both jobs for tables, which failed, and the report, which waits for them.
    assert [int(match[1]) for match in counted if match] == list(range(1, JOBS - 2))


def test_failed_job_shows_its_message_and_no_traceback(history: History) -> None:
    text = history.failed.text
    assert history.failed.code == 1
    assert "tables failed\n  error: the archive is truncated\n" in text
    assert "    what to do: download it again\n" in text
    log = history.project.root / "results" / "rehearsal" / "logs" / "tables.log"
    assert f"  log: {log}\n" in text
    assert "Traceback" not in text
    assert "CalledProcessError" not in text
    assert len(text.splitlines()) < JOBS + 20


def test_repetition_does_what_is_left_and_says_where_results_are(history: History) -> None:
    assert history.repeated.code == 0
    assert sorted(history.repeated_calls) == ["report", *WRITTEN]
    for name in ("table1.csv", "table5.md", "table8.md", "tableD1.tex", "status.md"):
        assert f"  results/rehearsal/tables/{name}\n" in history.repeated.text


def test_second_run_does_nothing_wherever_archives_lie(history: History) -> None:
    assert history.again.code == 0
    assert history.again_calls == []
    assert "Nothing to be done" in history.again.text


def test_training_setting_reruns_training_and_what_follows(finished: Project) -> None:
    answer = finished.snakemake(
        "--profile", "slurm", "--dry-run", "--config", "training={epochs: 3}"
    )
    assert answer.code == 0
    # Of the analyses, that of NAS-LoRA alone. No timing, but what a schedule of it comes to.
    assert answer.planned() == {"train": RUNS, "evaluate": RUNS, "analyse": 1, **SHOWN}


def test_evaluation_setting_reruns_evaluation_alone(finished: Project) -> None:
    answer = finished.snakemake(
        "--profile", "local", "--dry-run", "--config", "evaluation={size: input}"
    )
    assert answer.code == 0
    assert answer.planned() == {"evaluate": RUNS, "controls": 2, **SHOWN}


def test_deleted_record_reruns_one_evaluation(finished: Project) -> None:
    (finished.records / "kvasir" / "lora" / "seed1.json").unlink()
    answer = finished.snakemake("--profile", "local", "--dry-run")
    assert answer.code == 0
    assert "would run evaluate kvasir lora 1 " in answer.text
    assert answer.planned() == {"evaluate": 1, **SHOWN}


def test_records_alone_make_the_tables(finished: Project, fresh_elsewhere: Project) -> None:
    shutil.copytree(finished.records, fresh_elsewhere.records)
    answer = fresh_elsewhere.snakemake("--profile", "local")
    assert answer.code == 0
    assert sorted(fresh_elsewhere.calls()) == [f"figure {FIGURES}", "report", *WRITTEN]


def test_an_analysis_setting_reruns_analyses_alone(finished: Project) -> None:
    answer = finished.snakemake(
        "--profile", "local", "--dry-run", "--config", "analysis={images: 7}"
    )
    expected = {"analyse": ANALYSES, **SHOWN}
    del expected["pictures"]
    assert answer.planned() == expected


def test_a_timing_setting_reruns_the_timing_alone(finished: Project) -> None:
    answer = finished.snakemake("--profile", "slurm", "--dry-run", "--config", "timing={steps: 7}")
    assert answer.code == 0, answer.text
    assert answer.planned() == {**TIMED, "figures": 1, "report": 1}


def test_timings_of_other_machines_make_the_table_again(finished: Project) -> None:
    path = finished.root / "results" / "rehearsal" / "records" / "timing" / "a-gpu.json"
    path.write_text("timed by hand\n")
    answer = finished.snakemake("--profile", "local", "--dry-run")
    assert answer.planned() == {"timing_tables": 1, "figures": 1, "report": 1}


def test_no_other_table_waits_for_a_timing(finished: Project) -> None:
    (finished.tables / "status.md").unlink()
    (finished.root / "results" / "rehearsal" / "records" / "timing" / "pipeline.json").unlink()
    answer = finished.snakemake("--profile", "local", fail="time")
    assert answer.code == 1
    assert sorted(finished.calls()) == [f"table {NAMES}", "time"]
    assert (finished.tables / "status.md").exists()


def test_tables_of_records_alone_are_the_same_to_the_byte(
    fresh: Project, fresh_elsewhere: Project
) -> None:
    """With the real command for tables, and records as the real evaluation writes them."""
    write_records(fresh.root)
    shutil.copytree(fresh.records, fresh_elsewhere.records)
    tables = []
    for project in (fresh, fresh_elsewhere):
        answer = project.snakemake("--profile", "local", real="table")
        assert answer.code == 0, answer.text
        assert sorted(project.calls()) == [f"figure {FIGURES}", "report", *WRITTEN]
        tables.append({path.name: path.read_bytes() for path in sorted(project.tables.iterdir())})
    assert tables[0] == tables[1]
    assert len(tables[0]) == sum(len(TABLES[name].suffixes) for name in tables_of(STUDY))
    assert b"(not timed)" in tables[0]["table5.md"]
    assert b"Records left out" not in tables[0]["status.md"]
    assert b"left out" not in tables[0]["table8.md"]


def test_a_changed_record_makes_the_tables_again(finished: Project) -> None:
    path = finished.records / "leaf" / "channels_1_of_3" / "seed0.json"
    path.write_text("measured again\n")
    answer = finished.snakemake("--profile", "local", "--dry-run")
    assert answer.planned() == SHOWN


def test_another_variant_runs_alone(finished: Project) -> None:
    variant = "variants={rank_9: {method: lora, tasks: [leaf], settings: {rank: 9}}}"
    answer = finished.snakemake("--profile", "local", "--dry-run", "--config", variant)
    new = len(SEEDS)
    assert answer.planned() == {"train": new, "evaluate": new, **SHOWN}


def test_after_a_failure_there_are_tables_of_what_is_there(finished: Project) -> None:
    """One evaluation fails; its table says so, and the next run makes all of them again."""
    (finished.records / "kvasir" / "lora" / "seed1.json").unlink()
    (finished.tables / "status.md").unlink()
    answer = finished.snakemake("--profile", "local", fail="evaluate kvasir lora seed1")
    assert answer.code == 1
    assert finished.calls() == ["evaluate kvasir lora seed1", f"table {NAMES}"]
    status = finished.tables / "status.md"
    assert f"some runs are missing; how they stand: {status.relative_to(finished.root)}" in (
        answer.text
    )
    assert status.exists()
    again = finished.snakemake("--profile", "local")
    assert again.code == 0
    assert "evaluate kvasir lora seed1" in finished.calls()


def test_unknown_setting_is_named_with_the_nearest_known(fresh: Project) -> None:
    answer = fresh.snakemake("--profile", "local", "--config", "training={epoch: 3}")
    assert answer.code == 1
    assert "unknown setting training.epoch" in answer.text
    assert "did you mean training.epochs?" in answer.text
    assert "Traceback" not in answer.text
    assert fresh.calls() == []
