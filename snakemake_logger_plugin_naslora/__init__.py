"""Snakemake's progress in one line per finished job: what, how many of how many, how much longer.

Snakemake finds this package by its name, and uses it with `--logger naslora`, as our profiles do.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

TAIL_LINES = 12
_STATE = re.compile(r"SLURM status is: '(\w+)'")
_AGAIN = re.compile(r"Trying to restart job (\S+)\.")
_ERROR = re.compile(r"^(error: |Traceback )", re.MULTILINE)
_names: dict[int, tuple[str, ...]] = {}
_groups: dict[str, list[int]] = {}


def name_jobs(names: dict[int, tuple[str, ...]], groups: dict[str, list[int]]) -> None:
    """Say what jobs are by their numbers, since some executors run them without a word.

    Args:
        names: the rule of each job, then its wildcards.
        groups: which jobs are run together.
    """
    _names.update(names)
    _groups.update(groups)


def forget_jobs() -> None:
    """Forget what `name_jobs` was told."""
    _names.clear()
    _groups.clear()


class LogHandler(LogHandlerBase):
    """Writes to stderr. With --verbose or --printshellcmds, it leaves all to Snakemake's format."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = False
    has_formatter = False
    needs_rulegraph = False

    def __post_init__(self) -> None:
        self.stream = sys.stdout if self.common_settings.stdout else sys.stderr
        self.jobs: dict[int, str] = {}
        self.rules: dict[int, str] = {}
        self.started: dict[int, float] = {}
        self.seconds: dict[str, list[float]] = {}
        self.total: Counter[str] = Counter()
        self.done: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record, or keep what it tells for a later line."""
        try:
            if self.common_settings.verbose or self.common_settings.printshellcmds:
                text: str | None = self.format(record)
            else:
                text = self.text(record)
            self.show(text)
        except Exception:
            self.handleError(record)

    def text(self, record: logging.LogRecord) -> str | None:
        """What to show for a record, if anything."""
        of: dict[str, Any] = vars(record)
        event = of.get("event")
        if event == LogEvent.RUN_INFO:
            if self.total:
                return None  # a dry run counts once before and once after its list of jobs
            self.total = Counter({r: n for r, n in of["stats"].items() if is_work(r)})
            counts = ", ".join(f"{n} {rule}" for rule, n in self.total.items())
            return f"{self.total.total()} jobs to do: {counts}" if self.total else None
        if event == LogEvent.JOB_INFO:
            return self.start(of)
        if event == LogEvent.JOB_STARTED:
            self.begin(of["jobs"])
            return None
        if event == LogEvent.JOB_FINISHED:
            return self.finish(of["job_id"])
        if event == LogEvent.JOB_ERROR:
            return None if of.get("indent") else self.failed([of])  # a group's was shown already
        if event == LogEvent.GROUP_ERROR:
            return self.failed(of["job_error_info"])
        if again := _AGAIN.match(str(record.msg)):
            return f"{self.name_of(again[1])} is tried again"
        if event == LogEvent.ERROR or (event is None and record.levelno >= logging.WARNING):
            message = record.getMessage()
            # The job's own message says more than that its command failed.
            return None if "CalledProcessError" in message else message
        if of.get("result") or str(record.msg).startswith("Nothing to be done"):
            return record.getMessage()
        return None

    def failed(self, jobs: list[dict[str, Any]]) -> str:
        """What there is to know about jobs that failed as one."""
        names = [self.jobs.get(job["jobid"], job["rule_name"]) for job in jobs]
        name = names[0] if len(names) == 1 else f"a group ({', '.join(sorted(names))})"
        state = _STATE.search(str(jobs[0].get("rule_msg")))
        number = (jobs[0].get("aux") or {}).get("external_jobid")
        cluster = f": SLURM job {number}" if number else ""
        cluster += f" ended as {state[1]}" if state else ""
        return (
            f"{name} failed{cluster}\n{tail(to_blame([log for job in jobs for log in job['log']]))}"
        )

    def name_of(self, jobid: str) -> str:
        """The name of a job or group by its number."""
        members = [int(jobid)] if jobid.isdecimal() else _groups.get(jobid, [])
        return self.jobs.get(members[0], "a job") if len(members) == 1 else "the group"

    def begin(self, started: list[int | str]) -> None:
        """Remember jobs and groups given to the executor, which may say no more about them."""
        for one in started:
            for jobid in [one] if isinstance(one, int) else _groups.get(one, []):
                if jobid in _names:
                    self.remember(jobid, _names[jobid])

    def remember(self, jobid: int, name: tuple[str, ...]) -> None:
        """Remember a job, to name and time it when it ends."""
        self.rules[jobid] = name[0]
        self.jobs[jobid] = " ".join(name)
        self.started.setdefault(jobid, time.monotonic())

    def start(self, job: dict[str, Any]) -> str | None:
        """Note that a job starts."""
        jobid, rule = job["jobid"], job["rule_name"]
        self.remember(jobid, (rule, *map(str, dict(job["wildcards"]).values())))
        if self.common_settings.dryrun and is_work(rule):
            return f"would run {self.jobs[jobid]} ({textwrap.shorten(job['reason'], 120)})"
        return None

    def finish(self, jobid: int) -> str | None:
        """The line of a job that is done."""
        rule = self.rules[jobid]
        seconds = time.monotonic() - self.started[jobid]
        if not is_work(rule):
            return None
        self.done[rule] += 1
        self.seconds.setdefault(rule, []).append(seconds)
        done, total = self.done.total(), self.total.total()
        left = f", about {duration(self.seconds_left())} left" if done < total else ""
        width = len(str(total))
        return f"[{done:{width}} of {total}{left}] {self.jobs[jobid]}: {duration(seconds)}"

    def seconds_left(self) -> float:
        """Jobs to come, each as long as its rule took so far, as many at a time as so far."""
        every = [s for times in self.seconds.values() for s in times]
        elapsed = time.monotonic() - min(self.started.values())
        at_a_time = max(1.0, sum(every) / elapsed)
        work = 0.0
        for rule, total in self.total.items():
            times = self.seconds.get(rule, every)
            work += (total - self.done[rule]) * sum(times) / len(times)
        return work / at_a_time

    def show(self, text: str | None) -> None:
        """Write a line, if there is one."""
        if text:
            # Nobody may be reading any more, as after `| head`; the jobs go on.
            with contextlib.suppress(BrokenPipeError):
                print(text, file=self.stream, flush=True)


def is_work(rule: str) -> bool:
    """Whether a rule does something: not a target that only collects files, nor the sum."""
    return rule != "total" and not rule.startswith("all_")


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def to_blame(logs: list[str]) -> list[str]:
    """Of several log files, those that tell of an error, if any does."""
    told = [
        log
        for log in logs
        if Path(log).is_file() and _ERROR.search(Path(log).read_text(errors="replace"))
    ]
    return told or logs


def tail(logs: list[str]) -> str:
    """The last lines of the log files of a job that failed, and their paths."""
    shown = []
    for log in logs:
        path = Path(log)
        lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
        shown += [f"  {line}" for line in lines[-TAIL_LINES:]]
        shown.append(f"  log: {path.absolute()}")
    return "\n".join(shown)
