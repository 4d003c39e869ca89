"""The output of a run, from the events that Snakemake sends."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from snakemake.common import NOTHING_TO_BE_DONE_MSG
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


def described(jobid: int, rule: str, **wildcards: str) -> logging.LogRecord:
    return record(
        event=LogEvent.JOB_INFO, jobid=jobid, rule_name=rule, wildcards=wildcards, reason="missing"
    )


def stats(**counts: int) -> logging.LogRecord:
    total = {**counts, "total": sum(counts.values())}
    return record(event=LogEvent.RUN_INFO, stats=total)


def started(*jobs: int) -> logging.LogRecord:
    return record(event=LogEvent.JOB_STARTED, jobs=list(jobs))


def finished(jobid: int) -> logging.LogRecord:
    return record(event=LogEvent.JOB_FINISHED, job_id=jobid)


def test_time_left_is_estimated_from_jobs_of_the_same_rule(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    log = handler()
    log.emit(stats(prepare=1, train=3, table=1, all_tables=1))
    for job, rule, seconds in ((1, "prepare", 5), (2, "train", 60), (3, "train", 40)):
        log.emit(started(job))
        log.emit(described(job, rule, task="kvasir"))
        clock.now += seconds
        log.emit(finished(job))
    log.emit(started(6))
    log.emit(described(6, "all_tables"))
    log.emit(finished(6))
    assert capsys.readouterr().out.splitlines() == [
        "5 jobs to do: 1 prepare, 3 train, 1 table",
        "[1 of 5] prepare kvasir: 5 s",  # nothing is known about training yet
        "[2 of 5, about 2 min left] train kvasir: 60 s",
        "[3 of 5, about 50 s left] train kvasir: 40 s",
    ]


def test_jobs_side_by_side_halve_the_time_left(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    log = handler()
    log.emit(stats(train=4))
    log.emit(started(1, 2))
    log.emit(described(1, "train"))
    log.emit(described(2, "train"))
    clock.now += 60
    log.emit(finished(1))
    log.emit(finished(2))
    assert capsys.readouterr().out.splitlines()[-1] == "[2 of 4, about 60 s left] train: 60 s"


def test_a_terminal_has_one_live_line(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    log = handler()
    log.console = Console(force_terminal=True, width=80, highlight=False)
    log.emit(stats(train=2))
    for job in (1, 2):
        log.emit(started(job))
        log.emit(described(job, "train", variant="lora", seed=str(job)))
        assert log.line is not None
        assert log.line.tasks[0].description.endswith(f"train lora {job}")
        clock.now += 30
        log.emit(finished(job))
        assert log.line.tasks[0].completed == job
        if job == 1:
            assert log.line.tasks[0].description == "about 30 s left"
    log.emit(record("the results", results=True))
    assert log.line is None
    shown = capsys.readouterr().out
    assert "train lora 1: 30 s" not in shown
    assert shown.endswith("the results\n")


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
    log.emit(record(NOTHING_TO_BE_DONE_MSG))
    log.emit(record("a warning", logging.WARNING))
    log.emit(record("WorkflowError: no such rule", logging.ERROR, event=LogEvent.ERROR))
    log.emit(record("results of study [s]:", results=True))
    assert capsys.readouterr().out.splitlines() == [
        NOTHING_TO_BE_DONE_MSG,
        "a warning",
        "WorkflowError: no such rule",
        "results of study [s]:",
    ]


def test_dry_run_lists_jobs_with_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    log = handler(dryrun=True)
    for _ in range(2):
        log.emit(stats(train=1, all_tables=1))
    log.emit(described(1, "train", task="kvasir"))
    log.emit(described(2, "all_tables"))
    assert capsys.readouterr().out.splitlines() == [
        "1 job to do: 1 train",
        "would run train kvasir (missing)",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (89, "89 s"), (90, "2 min"), (5400, "1.5 h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert plugin.duration(seconds) == text


def test_jobs_on_a_cluster_have_numbers_and_their_logs_names(
    tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cluster's executor does not describe jobs; of a group, the log with the error is shown."""
    good = tmp_path / "logs" / "train" / "leaf" / "seed0.log"
    bad = tmp_path / "logs" / "evaluate" / "leaf" / "seed0.log"
    for path, text in ((good, "epoch 1/1\n"), (bad, "error: no such image\n")):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    log = handler()
    log.emit(stats(train=2, evaluate=1))
    log.emit(started(1, 2))
    clock.now += 30
    alone = {"jobid": 1, "rule_name": "train", "log": [str(good)], "aux": {"external_jobid": "17"}}
    log.emit(record(event=LogEvent.JOB_ERROR, **alone))
    members = [
        {**alone, "jobid": 2, "aux": {"external_jobid": "18"}},
        {"jobid": 3, "rule_name": "evaluate", "log": [str(bad)], "aux": {"external_jobid": "18"}},
    ]
    log.emit(record(event=LogEvent.GROUP_ERROR, job_error_info=members))
    for member in members:
        log.emit(record(event=LogEvent.JOB_ERROR, indent=True, **member))
    log.emit(started(1))
    clock.now += 20
    log.emit(finished(1))
    assert capsys.readouterr().out.splitlines() == [
        "3 jobs to do: 2 train, 1 evaluate",
        "train leaf seed0 failed: SLURM job 17",
        "  epoch 1/1",
        f"  log: {good}",
        "evaluate leaf seed0, train leaf seed0 failed: SLURM job 18",
        "  error: no such image",
        f"  log: {bad}",
        "train leaf seed0 is started again",
        "[1 of 3] train leaf seed0: 20 s",
    ]
