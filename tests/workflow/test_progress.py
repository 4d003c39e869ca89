"""The lines that a run shows, from the events that Snakemake sends."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

import snakemake_logger_plugin_naslora as plugin


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(plugin, "time", clock)
    return clock


def handler(**settings: bool) -> plugin.LogHandler:
    usual = {"verbose": False, "printshellcmds": False, "dryrun": False, "stdout": True}
    return plugin.LogHandler(SimpleNamespace(**usual | settings), None)


def record(text: str | None = None, level: int = logging.INFO, **fields: Any) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": text, "levelno": level, **fields})


def job(jobid: int, rule: str, **wildcards: str) -> logging.LogRecord:
    return record(
        event=LogEvent.JOB_INFO, jobid=jobid, rule_name=rule, wildcards=wildcards, reason="missing"
    )


def stats(**counts: int) -> logging.LogRecord:
    total = {**counts, "total": sum(counts.values())}
    return record(event=LogEvent.RUN_INFO, stats=total)


def finished(jobid: int) -> logging.LogRecord:
    return record(event=LogEvent.JOB_FINISHED, job_id=jobid)


def test_time_left_is_estimated_from_jobs_of_the_same_rule(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    log = handler()
    log.emit(stats(train=3, table=1, all_tables=1))
    log.emit(job(1, "train", task="kvasir", variant="lora", seed="0"))
    clock.now += 60
    log.emit(finished(1))
    log.emit(job(2, "table", table="table1"))
    clock.now += 10
    log.emit(finished(2))
    log.emit(job(3, "all_tables"))
    log.emit(finished(3))
    assert capsys.readouterr().out.splitlines() == [
        "4 jobs to do: 3 train, 1 table",
        "[1 of 4, about 3 min left] train kvasir lora 0: 60 s",
        "[2 of 4, about 2 min left] table table1: 10 s",
    ]


def test_jobs_side_by_side_halve_the_time_left(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    log = handler()
    log.emit(stats(train=4))
    log.emit(job(1, "train"))
    log.emit(job(2, "train"))
    clock.now += 60
    log.emit(finished(1))
    log.emit(finished(2))
    assert capsys.readouterr().out.splitlines()[-1] == "[2 of 4, about 60 s left] train: 60 s"


def test_failed_job_shows_the_end_of_its_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "train.log"
    path.write_text("\n".join(f"line {i}" for i in range(100)) + "\nerror: no\n")
    log = handler()
    log.emit(record(event=LogEvent.JOB_ERROR, jobid=1, rule_name="train", log=[str(path)]))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "train failed"
    assert lines[-2:] == ["  error: no", f"  log: {path}"]
    assert len(lines) == 1 + plugin.TAIL_LINES + 1


def test_only_what_matters_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    log = handler()
    log.emit(record("Building DAG of jobs..."))
    log.emit(record("CalledProcessError in file", logging.ERROR, event=LogEvent.ERROR))
    assert capsys.readouterr().out == ""
    log.emit(record("Nothing to be done (all up to date)."))
    log.emit(record("a warning", logging.WARNING))
    log.emit(record("WorkflowError: no such rule", logging.ERROR, event=LogEvent.ERROR))
    log.emit(record("results of study s:", result=True))
    assert capsys.readouterr().out.splitlines() == [
        "Nothing to be done (all up to date).",
        "a warning",
        "WorkflowError: no such rule",
        "results of study s:",
    ]


def test_dry_run_lists_jobs_with_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    log = handler(dryrun=True)
    for _ in range(2):
        log.emit(stats(train=1, all_tables=1))
    log.emit(job(1, "train", task="kvasir"))
    log.emit(job(2, "all_tables"))
    assert capsys.readouterr().out.splitlines() == [
        "1 jobs to do: 1 train",
        "would run train kvasir (missing)",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (89, "89 s"), (90, "2 min"), (5400, "1.5 h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert plugin.duration(seconds) == text


@pytest.fixture
def named() -> Iterator[None]:
    """Job 1 is a training, jobs 2 and 3 are a group; the executor does not say so."""
    names = {1: ("train", "kvasir", "lora", "0"), 2: ("train", "leaf"), 3: ("evaluate", "leaf")}
    plugin.name_jobs(names, {"abc": [2, 3]})
    yield
    plugin.forget_jobs()


@pytest.mark.usefixtures("named")
def test_jobs_of_a_silent_executor_have_names_and_times(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    log = handler()
    log.emit(stats(train=2, evaluate=1))
    log.emit(record(event=LogEvent.JOB_STARTED, jobs=[1, "abc"]))
    clock.now += 30
    for number in (1, 2, 3):
        log.emit(finished(number))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == [
        "[1 of 3, about 60 s left] train kvasir lora 0: 30 s",
        "[2 of 3, about 15 s left] train leaf: 30 s",
        "[3 of 3] evaluate leaf: 30 s",
    ]


@pytest.mark.usefixtures("named")
def test_failures_in_slurm_name_the_job_there_and_the_log_to_blame(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "train.log", tmp_path / "evaluate.log"
    good.write_text("epoch 1/1\n")
    bad.write_text("error: no such image\n  what to do: look\n")
    log = handler()
    log.emit(record(event=LogEvent.JOB_STARTED, jobs=[1, "abc"]))
    told = "SLURM-job '17' failed, SLURM status is: 'TIMEOUT'. Detailed failure reason unavailable"
    alone = {"jobid": 1, "rule_name": "train", "log": [str(good)], "rule_msg": told}
    log.emit(record(event=LogEvent.JOB_ERROR, **alone, aux={"external_jobid": "17"}))
    members: list[dict[str, Any]] = [
        {"jobid": 2, "rule_name": "train", "log": [str(good)], "aux": {"external_jobid": "18"}},
        {"jobid": 3, "rule_name": "evaluate", "log": [str(bad)], "aux": {"external_jobid": "18"}},
    ]
    log.emit(record(event=LogEvent.GROUP_ERROR, job_error_info=members))
    for member in members:
        log.emit(record(event=LogEvent.JOB_ERROR, indent=True, **member))
    log.emit(record("Trying to restart job 1."))
    log.emit(record("Trying to restart job abc."))
    assert capsys.readouterr().out.splitlines() == [
        "train kvasir lora 0 failed: SLURM job 17 ended as TIMEOUT",
        "  epoch 1/1",
        f"  log: {good}",
        "a group (evaluate leaf, train leaf) failed: SLURM job 18",
        "  error: no such image",
        "    what to do: look",
        f"  log: {bad}",
        "train kvasir lora 0 is tried again",
        "the group is tried again",
    ]
