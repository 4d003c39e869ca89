"""The jobs that run, and those that run again; `fake_naslora` replaces the real work."""

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

# One worker runs all of these tests, so that the finished projects are made once.
pytestmark = pytest.mark.xdist_group("workflow")

# The jobs of the fixture's study: two tasks and three methods; leaf also has ablations.
TASKS, METHODS, SEEDS = ("kvasir", "leaf"), ("lora", "nas_lora", "nas_pc_lora"), (0, 1)
ABLATIONS = ("layers_first_half", "layers_last_half", "channels_1_of_3")
LEAF_RUNS = (len(METHODS) + len(ABLATIONS)) * len(SEEDS)
RUNS = len(METHODS) * len(SEEDS) + LEAF_RUNS
BATCHES = len(TASKS)
DRAWN = {"figures": 1, "pictures": 1, "report": 1}
TIMED = {"timing": 1, "timing_tables": 1}
SHOWN = {"tables": 1, "timing_tables": 1, **DRAWN}
# prepare and pretrain; batches; timing; tables and figures
JOBS = len(TASKS) + 1 + BATCHES + 1 + len(SHOWN)
STUDY = load_study("paper", {"tasks": list(TASKS)}, Path(__file__).parents[2] / "config")
NAMES = " ".join(name for name in tables_of(STUDY) if TABLES[name].from_records)
TIMING_NAMES = " ".join(name for name in tables_of(STUDY) if not TABLES[name].from_records)
WRITTEN = [f"table {NAMES}", f"table {TIMING_NAMES}"]
FIGURES = " ".join(figures_of(STUDY, weights=False))


def write_records(root: Path) -> None:
    """Write records of all runs and controls of the study in this project, with distinct scores."""
    kit = runpy.run_path(str(Path(__file__).parents[1] / "report" / "conftest.py"))
    study = load_study("rehearsal", {"results": str(root / "results")}, root / "config")
    runs = [(task, name, 0) for task in study.tasks for name in CONTROLS] + study.runs()
    for index, (task, variant, seed) in enumerate(runs):
        scores = kit["scores_of"](task, 0.3 + 0.01 * index)
        kit["write_run"](study, variant, seed, scores, task=task, images=5)


def test_first_run_does_everything_once(history: History) -> None:
    commands = Counter(call.split()[0] for call in history.failed_calls)
    assert commands == {
        "prepare": 2,
        "pretrain": 1,
        "train": RUNS,
        "evaluate": RUNS,
        "controls": 2,
        "table": len(WRITTEN),
        "analyse": 3,
        "time": 1,
        "figure": 2,
    }
    assert len(set(history.failed_calls)) == len(history.failed_calls)
    trained = {call for call in history.failed_calls if call.startswith("train ")}
    on_both = {f"train {t} {m} seed{s}" for t in TASKS for m in METHODS for s in SEEDS}
    assert trained == on_both | {f"train leaf {a} seed{s}" for a in ABLATIONS for s in SEEDS}


def test_finished_jobs_are_counted(history: History) -> None:
    lines = [line for line in history.failed.text.splitlines() if line.startswith("[")]
    left = r"(, about \d+ (s|min) left)?"
    counted = [re.match(rf"\[ *(\d+) of {JOBS}{left}\] ", line) for line in lines]
    assert all(counted)
    # Without both jobs for tables, which failed, and the report, which waits for them.
    assert [int(match[1]) for match in counted if match] == list(range(1, JOBS - 2))
    assert not any("left" in line for line in lines[:2])  # of no job that takes long


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


def test_repetition_does_what_is_left_and_shows_results(history: History) -> None:
    assert history.repeated.code == 0
    assert sorted(history.repeated_calls) == ["report", *WRITTEN]
    lines = history.repeated.text.splitlines()
    assert "tables: results/rehearsal/tables" in lines
    assert "all in one page: results/rehearsal/report.html" in lines


def test_second_run_does_nothing_wherever_archives_lie(history: History) -> None:
    assert history.again.code == 0
    assert history.again_calls == []
    assert "Nothing to be done" in history.again.text


def test_training_setting_reruns_training_and_what_follows(finished: Project) -> None:
    """With runs, or with only their records, which are of other settings too."""
    changed = ["--config", "training={epochs: 7}"]
    again = {"batch": BATCHES, **SHOWN}
    (planned,) = finished.plans(changed)
    assert planned == again
    shutil.rmtree(finished.records.parent / "runs")
    nothing, planned = finished.plans([], changed)
    assert nothing == {}
    assert planned == again


def test_batches_do_what_is_not_up_to_date(finished: Project) -> None:
    """A variant has other training settings; a record and the weights of a run are missing."""
    results = finished.records.parent
    (finished.records / "kvasir" / "lora" / "seed1.json").unlink()
    (results / "runs" / "leaf" / "lora" / "seed0" / "adapter.safetensors").unlink()
    variant = "variants={layers_last_half: {training: {epochs: 9}}}"
    answer = finished.snakemake("--profile", "local", "all_runs", "--config", variant)
    assert answer.code == 0
    assert sorted(finished.calls()) == [
        "evaluate kvasir lora seed1",
        "evaluate leaf layers_last_half seed0",
        "evaluate leaf layers_last_half seed1",
        "evaluate leaf lora seed0",
        "train leaf layers_last_half seed0",
        "train leaf layers_last_half seed1",
        "train leaf lora seed0",
    ]


def test_what_fails_in_a_batch_leaves_the_rest(finished: Project) -> None:
    """Tables are made from the other records, and the next run makes the missing ones."""
    (finished.records / "kvasir" / "lora" / "seed1.json").unlink()
    (finished.records / "kvasir" / "nas_lora" / "seed1.json").unlink()
    (finished.tables / "status.md").unlink()
    answer = finished.snakemake("--profile", "local", fail="evaluate kvasir lora seed1")
    assert answer.code == 1
    both = ["evaluate kvasir lora seed1", "evaluate kvasir nas_lora seed1"]
    assert finished.calls() == [*both, f"table {NAMES}"]
    assert "batch kvasir all failed\n" in answer.text
    assert "  failed, see above: lora on kvasir, seed 1\n" in answer.text
    status = finished.tables / "status.md"
    assert f"some runs are missing; see {status.relative_to(finished.root)}" in (answer.text)
    assert status.exists()
    again = finished.snakemake("--profile", "local")
    assert again.code == 0
    assert finished.calls()[:1] == ["evaluate kvasir lora seed1"]


def test_evaluation_setting_reruns_evaluations_alone(finished: Project) -> None:
    answer = finished.snakemake(
        "--profile", "local", "all_runs", "--config", "evaluation={size: input}"
    )
    assert answer.code == 0
    done = Counter(call.split()[0] for call in finished.calls())
    assert done == {"evaluate": RUNS, "controls": len(TASKS)}


def test_settings_of_one_part_rerun_that_part(finished: Project) -> None:
    analysis, timing, split, images = finished.plans(
        ["--config", "analysis={images: 7}"],
        ["--config", "timing={steps: 7}"],
        ["--config", "data={split_seed: 1}"],
        ["--config", "generated={leaf: 61}"],
    )
    assert analysis == {"batch": 1, **SHOWN}
    assert timing == {**TIMED, "figures": 1, "report": 1}
    assert split == {"prepare": 2, "batch": BATCHES, **SHOWN}
    assert images == {"prepare": 1, "batch": 1, **SHOWN}


def test_changed_settings_and_back_rerun_nothing(finished: Project) -> None:
    _, back = finished.plans(["--config", "training={epochs: 7}"], [])
    assert back == {}


def test_another_variant_runs_alone(finished: Project) -> None:
    variant = "variants={rank_9: {method: lora, tasks: [leaf], settings: {rank: 9}}}"
    answer = finished.snakemake("--profile", "local", "all_runs", "--config", variant)
    assert answer.code == 0
    assert sorted(finished.calls()) == [
        f"{step} leaf rank_9 seed{seed}" for step in ("evaluate", "train") for seed in SEEDS
    ]


def test_long_runs_are_jobs_of_their_own(single: Project) -> None:
    """Training and evaluation are separate jobs, each of which reruns if necessary."""
    trained, evaluated = single.plans(
        ["--config", "training={epochs: 7}"], ["--config", "evaluation={size: input}"]
    )
    assert trained == {"train": 2, "evaluate": 2, "analyse": 1, **SHOWN}
    assert evaluated == {"evaluate": 2, "controls": 1, **SHOWN}
    (single.records / "kvasir" / "lora" / "seed0.json").unlink()
    answer = single.snakemake("--profile", "local", "all_runs")
    assert single.calls() == ["evaluate kvasir lora seed0"], answer.text
    shutil.rmtree(single.records.parent / "runs")
    nothing, trained = single.plans(["all_runs"], ["all_runs", "--config", "training={epochs: 7}"])
    assert nothing == {}
    assert trained == {"train": 2, "evaluate": 2, "analyse": 1}


def test_records_alone_make_the_tables(finished: Project, fresh_elsewhere: Project) -> None:
    shutil.copytree(finished.records, fresh_elsewhere.records)
    answer = fresh_elsewhere.snakemake("--profile", "local")
    assert answer.code == 0
    assert sorted(fresh_elsewhere.calls()) == [f"figure {FIGURES}", "report", *WRITTEN]


def test_timings_of_other_machines_make_the_table_again(finished: Project) -> None:
    folder = finished.records / "timing"
    shutil.copy(folder / "pipeline.json", folder / "a-gpu.json")
    (planned,) = finished.plans([])
    assert planned == {"timing_tables": 1, "figures": 1, "report": 1}


def test_no_other_table_waits_for_a_timing(finished: Project) -> None:
    (finished.tables / "status.md").unlink()
    (finished.records / "timing" / "pipeline.json").unlink()
    answer = finished.snakemake("--profile", "local", fail="time")
    assert answer.code == 1
    assert sorted(finished.calls()) == [f"table {NAMES}", "time"]
    assert (finished.tables / "status.md").exists()


def test_tables_of_records_alone_are_the_same_to_the_byte(
    fresh: Project, fresh_elsewhere: Project
) -> None:
    """With the real command for tables, and records like those of the real evaluation."""
    write_records(fresh.root)
    shutil.copytree(fresh.records, fresh_elsewhere.records)
    tables = []
    for project in (fresh, fresh_elsewhere):
        answer = project.snakemake("--profile", "local", real="table")
        assert answer.code == 0, answer.text
        assert sorted(project.calls()) == [f"figure {FIGURES}", "report", *WRITTEN]
        paths = [p for p in sorted(project.tables.iterdir()) if p.name != "sources.json"]
        tables.append({path.name: path.read_bytes() for path in paths})
    assert tables[0] == tables[1]
    assert len(tables[0]) == sum(len(TABLES[name].suffixes) for name in tables_of(STUDY))
    assert b"(not timed)" in tables[0]["table5.md"]
    assert b"Records left out" not in tables[0]["status.md"]
    assert b"left out" not in tables[0]["table8.md"]


def test_a_record_changed_by_hand_is_made_again(finished: Project) -> None:
    path = finished.records / "leaf" / "channels_1_of_3" / "seed0.json"
    path.write_text(path.read_text().replace('"evaluation_time_s": 1', '"evaluation_time_s": 2'))
    (planned,) = finished.plans([])
    assert planned == {**SHOWN, "batch": 1}


def test_a_damaged_record_is_made_again(finished: Project) -> None:
    (finished.records / "leaf" / "channels_1_of_3" / "seed0.json").write_text("damaged\n")
    answer = finished.snakemake("--profile", "local", "all_runs")
    assert answer.code == 0
    assert finished.calls() == ["evaluate leaf channels_1_of_3 seed0"]


def test_a_folder_with_any_characters_is_only_a_folder(least: Project, tmp_path: Path) -> None:
    name = 'out put\'s "$(touch stray)" & `touch stray`; *'
    least.calls()
    answer = least.snakemake("--profile", "local", "--config", f"results='{name}'")
    assert answer.code == 0, answer.text
    assert (least.root / name / "rehearsal" / "report.html").is_file()
    assert not list(least.root.rglob("*stray"))
    assert {path.name for path in least.root.iterdir()} == least.known_files() | {name}
    again = least.snakemake("--profile", "local", "--config", f"results='{name}'")
    assert "Nothing to be done" in again.text


@pytest.mark.parametrize(
    ("results", "why"),
    [("/proc/naslora", "No such file or directory"), ("x" * 300, "File name too long")],
)
def test_a_results_folder_that_cannot_be_made_is_named(
    fresh: Project, results: str, why: str
) -> None:
    answer = fresh.snakemake("--profile", "local", "--config", f"results={results}")
    assert answer.code == 1
    assert f"the results folder cannot be made: {why}" in answer.text
    assert "what to do: choose another folder" in answer.text
    assert "Traceback" not in answer.text
    assert len(answer.text.splitlines()) < 9


def test_unknown_setting_is_named_with_the_nearest_known(fresh: Project) -> None:
    answer = fresh.snakemake("--profile", "local", "--config", "training={epoch: 3}")
    assert answer.code == 1
    assert "unknown setting training.epoch" in answer.text
    assert "did you mean training.epochs?" in answer.text
    assert "Traceback" not in answer.text
    assert fresh.calls() == []


@pytest.mark.parametrize(
    ("setting", "message"),
    [("methods=[lorra]", "did you mean lora?"), ("bundles=[leav]", "did you mean leaf?")],
)
def test_unknown_names_end_a_dry_run_too(fresh: Project, setting: str, message: str) -> None:
    answer = fresh.snakemake("--profile", "local", "-n", "all_tables", "--config", setting)
    assert answer.code == 1
    assert message in answer.text
    assert "Traceback" not in answer.text
    assert not (fresh.root / "results").exists()
