"""What runs, and what runs again, with a stand-in for the `naslora` command."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from naslora.settings import load_study

if TYPE_CHECKING:
    from conftest import History, Project

# One worker runs all of these, so that the finished project is made once.
pytestmark = pytest.mark.xdist_group("workflow")

REHEARSAL = load_study("rehearsal", config=Path(__file__).parents[2] / "config")
METHODS, SEEDS = REHEARSAL.methods, REHEARSAL.seeds
RUNS = len(METHODS) * len(SEEDS)
FIGURES = 2
JOBS = 5 + 2 * RUNS + FIGURES  # generate, prepare, pretrain, controls, table


def test_first_run_does_every_job_once(history: History) -> None:
    commands = Counter(call.split()[0] for call in history.failed_calls)
    assert commands == {
        "generate": 1,
        "prepare": 1,
        "pretrain": 1,
        "train": RUNS,
        "evaluate": RUNS,
        "controls": 1,
        "table": 1,
        "figure": FIGURES,
    }
    assert len(set(history.failed_calls)) == len(history.failed_calls)
    assert {f"train kvasir {m} seed{s}" for m in METHODS for s in SEEDS} < set(history.failed_calls)


def test_finished_jobs_are_counted_with_the_time_left(history: History) -> None:
    lines = [line for line in history.failed.text.splitlines() if line.startswith("[")]
    counted = [re.match(rf"\[ *(\d+) of {JOBS}, about \d+ (s|min) left\] ", line) for line in lines]
    assert all(counted)
    assert [int(match[1]) for match in counted if match] == list(range(1, JOBS))


def test_failed_job_shows_its_message_and_no_traceback(history: History) -> None:
    text = history.failed.text
    assert history.failed.code == 1
    assert "table table1 failed\n  error: the archive is truncated\n" in text
    assert "    what to do: download it again\n" in text
    log = history.project.root / "results" / "rehearsal" / "logs" / "table" / "table1.log"
    assert f"  log: {log}\n" in text
    assert "Traceback" not in text
    assert "CalledProcessError" not in text
    assert len(text.splitlines()) < JOBS + 15


def test_repetition_does_what_is_left_and_says_where_results_are(history: History) -> None:
    assert history.repeated.code == 0
    assert history.repeated_calls == ["table table1"]
    for name in ("tables/table1.csv", "tables/table1.md", "tables/table1.tex"):
        assert f"  results/rehearsal/{name}\n" in history.repeated.text


def test_second_run_does_nothing_wherever_archives_lie(history: History) -> None:
    assert history.again.code == 0
    assert history.again_calls == []
    assert "Nothing to be done" in history.again.text


def test_training_setting_reruns_training_and_what_follows(finished: Project) -> None:
    answer = finished.snakemake(
        "--profile", "slurm", "--dry-run", "--config", "training={epochs: 3}"
    )
    assert answer.code == 0
    assert answer.planned() == {"train": RUNS, "evaluate": RUNS, "table": 1, "figure": FIGURES}


def test_evaluation_setting_reruns_evaluation_alone(finished: Project) -> None:
    answer = finished.snakemake(
        "--profile", "local", "--dry-run", "--config", "evaluation={size: input}"
    )
    assert answer.code == 0
    assert answer.planned() == {"evaluate": RUNS, "controls": 1, "table": 1, "figure": FIGURES}


def test_deleted_record_reruns_one_evaluation(finished: Project) -> None:
    (finished.records / "kvasir" / "lora" / "seed1.json").unlink()
    answer = finished.snakemake("--profile", "local", "--dry-run")
    assert answer.code == 0
    assert "would run evaluate kvasir lora 1 " in answer.text
    assert answer.planned() == {"evaluate": 1, "table": 1, "figure": FIGURES}


def test_records_alone_make_the_tables(finished: Project, fresh_elsewhere: Project) -> None:
    shutil.copytree(finished.records, fresh_elsewhere.records)
    answer = fresh_elsewhere.snakemake("--profile", "local")
    assert answer.code == 0
    assert fresh_elsewhere.calls() == ["table table1"]


def test_unknown_setting_is_named_with_the_nearest_known(fresh: Project) -> None:
    answer = fresh.snakemake("--profile", "local", "--config", "training={epoch: 3}")
    assert answer.code == 1
    assert "unknown setting training.epoch" in answer.text
    assert "did you mean training.epochs?" in answer.text
    assert "Traceback" not in answer.text
    assert fresh.calls() == []


@pytest.mark.skipif(shutil.which("sbatch") is not None, reason="SLURM is here")
def test_slurm_profile_without_slurm_ends_at_once(fresh: Project) -> None:
    answer = fresh.snakemake("--profile", "slurm")
    assert answer.code == 1
    assert "the command sbatch is not on the PATH" in answer.text
    assert fresh.calls() == []
