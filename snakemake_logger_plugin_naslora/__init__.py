"""Snakemake's progress: one live line on a terminal, a short line for each job elsewhere.

Snakemake finds this package by its name and uses it with `--logger naslora`, as our profiles do.
Its only input is the events of Snakemake's interface for logger plugins.
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

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from snakemake.common import NOTHING_TO_BE_DONE_MSG
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

TAIL_LINES = 12
_ERROR = re.compile(r"^(error: |Traceback )", re.MULTILINE)


class LogHandler(LogHandlerBase):
    """Writes to stderr; with --verbose or --printshellcmds, in Snakemake's own format."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = False
    has_formatter = False
    needs_rulegraph = False

    def __post_init__(self) -> None:
        stream = sys.stdout if self.common_settings.stdout else sys.stderr
        self.console = Console(file=stream, highlight=False, markup=False, soft_wrap=True)
        self.jobs = Jobs()
        self.line: Progress | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Show a log record, or store it for later."""
        try:
            if self.common_settings.verbose or self.common_settings.printshellcmds:
                self.show(self.format(record))
            else:
                self.handle_event(vars(record), record)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Remove the live line."""
        self.stop()
        super().close()

    def handle_event(self, of: dict[str, Any], record: logging.LogRecord) -> None:
        """Show an event."""
        event = of.get("event")
        if event == LogEvent.RUN_INFO:
            self.begin(of["stats"])
        elif event == LogEvent.JOB_INFO:
            self.jobs.name(of["jobid"], of["rule_name"], dict(of["wildcards"]))
            if self.common_settings.dryrun and is_work(of["rule_name"]):
                reason = textwrap.shorten(of["reason"], 120)
                self.show(f"would run {self.jobs.names[of['jobid']]} ({reason})")
        elif event == LogEvent.JOB_STARTED:
            for again in self.jobs.start(of["jobs"]):
                self.show(f"{again} is started again")
        elif event == LogEvent.JOB_FINISHED:
            self.finish(of["job_id"])
        elif event == LogEvent.JOB_ERROR and not of.get("indent"):  # a group's follows at once
            self.show(self.jobs.failure([of]))
        elif event == LogEvent.GROUP_ERROR:
            self.show(self.jobs.failure(of["job_error_info"]))
        elif event == LogEvent.ERROR or (event is None and record.levelno >= logging.WARNING):
            message = record.getMessage()
            # Snakemake repeats a job's failure as an error without details; the log of the job has
            # been shown already.
            if "CalledProcessError" not in message:
                self.show(message)
        elif of.get("results") or record.msg == NOTHING_TO_BE_DONE_MSG:
            self.stop()
            self.show(record.getMessage())
        self.refresh()

    def begin(self, stats: dict[str, int]) -> None:
        """Show the number of jobs, once: a dry run announces it before and after its jobs."""
        if self.jobs.total:
            return
        self.jobs.total = Counter({r: n for r, n in stats.items() if is_work(r) and r != "total"})
        if not self.jobs.total:
            return
        counts = ", ".join(f"{n} {rule}" for rule, n in self.jobs.total.items())
        total = self.jobs.total.total()
        self.show(f"{total} job{'' if total == 1 else 's'} to do: {counts}")
        if self.console.is_terminal and not self.common_settings.dryrun:
            self.line = Progress(
                MofNCompleteColumn(),
                BarColumn(bar_width=20),
                TimeElapsedColumn(),
                TextColumn("{task.description}", markup=False),
                console=self.console,
                refresh_per_second=1,
                transient=True,
            )
            self.line.add_task("", total=self.jobs.total.total())
            self.line.start()

    def finish(self, job: int) -> None:
        """Count a job that is done, and show it if there is no live line."""
        seconds = self.jobs.finish(job)
        if seconds is not None and self.line is None:
            done, total = self.jobs.done.total(), self.jobs.total.total()
            left = f", {text}" if (text := self.jobs.time_left()) else ""
            number = f"{done:{len(str(total))}} of {total}"
            self.show(f"[{number}{left}] {self.jobs.named(job)}: {duration(seconds)}")

    def refresh(self) -> None:
        """Update the live line."""
        if self.line is not None:
            parts = [self.jobs.time_left(), ", ".join(self.jobs.running())]
            room = max(self.console.width - 50, 10)
            text = textwrap.shorten(" | ".join(filter(None, parts)), room, placeholder="…")
            self.line.update(
                self.line.task_ids[0], completed=self.jobs.done.total(), description=text
            )

    def stop(self) -> None:
        """Remove the live line for good."""
        if self.line is not None:
            self.line.stop()
            self.line = None

    def show(self, text: str) -> None:
        """Write lines, above the live one if there is one."""
        # The reader may have stopped, as after `| head`; the jobs continue.
        with contextlib.suppress(BrokenPipeError):
            self.console.print(text)


class Jobs:
    """Names, times and counts of the jobs of a run of the workflow, by their numbers.

    Executors for clusters do not name a job before it fails; until then, its number is shown.
    """

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self.rules: dict[int, str] = {}
        self.started: dict[int, float] = {}
        self.starts: Counter[int] = Counter()
        self.ended: set[int] = set()
        self.seconds: dict[str, list[float]] = {}
        self.total: Counter[str] = Counter()
        self.done: Counter[str] = Counter()

    def name(self, job: int, rule: str, wildcards: dict[str, Any]) -> None:
        """Store the name of a job."""
        self.rules[job] = rule
        self.names[job] = " ".join((rule, *map(str, wildcards.values())))

    def named(self, job: int) -> str:
        """A job's name, or its number."""
        return self.names.get(job, f"job {job}")

    def start(self, jobs: list[Any]) -> list[str]:
        """Store that jobs were submitted; return the names of those that were submitted before.

        Groups of jobs, whose identifiers are not numbers, are ignored.
        """
        again = []
        for job in jobs:
            if isinstance(job, int):
                self.started[job] = time.monotonic()
                self.ended.discard(job)
                self.starts[job] += 1
                if self.starts[job] > 1:
                    again.append(self.named(job))
        return again

    def finish(self, job: int) -> float | None:
        """Store that a job is done; return its seconds, or None for a target without work."""
        rule = self.rules.get(job, "")
        self.ended.add(job)
        if rule and not is_work(rule):
            return None
        seconds = time.monotonic() - self.started.get(job, time.monotonic())
        self.done[rule] += 1
        self.seconds.setdefault(rule, []).append(seconds)
        return seconds

    def running(self) -> list[str]:
        """Names of the jobs that are running, the latest first."""
        running = [job for job in reversed(self.started) if job not in self.ended]
        return [self.named(job) for job in running if is_work(self.rules.get(job, ""))]

    def time_left(self) -> str:
        """An estimate of the remaining time; empty while there is nothing to estimate it from.

        It assumes the mean time of each rule's finished jobs, and as many parallel jobs as so far.
        There is no estimate before every rule with several remaining jobs has been timed.
        """
        left = self.total - self.done
        if not left or any(n > 1 and rule not in self.seconds for rule, n in left.items()):
            return ""
        elapsed = time.monotonic() - min(self.started.values())
        at_a_time = max(1.0, sum(map(sum, self.seconds.values())) / max(elapsed, 1e-9))
        work = sum(
            n * sum(self.seconds[rule]) / len(self.seconds[rule])
            for rule, n in left.items()
            if rule in self.seconds
        )
        return f"about {duration(work / at_a_time)} left" if work else ""

    def failure(self, jobs: list[dict[str, Any]]) -> str:
        """The message about jobs that failed together."""
        for job in jobs:
            self.ended.add(job["jobid"])
            self.names.setdefault(job["jobid"], _by_log(job))
        names = sorted({self.names[job["jobid"]] for job in jobs})
        number = (jobs[0].get("aux") or {}).get("external_jobid")
        cluster = f": SLURM job {number}" if number else ""
        logs = logs_with_errors([log for job in jobs for log in job["log"]])
        return f"{', '.join(names)} failed{cluster}\n{tail(logs)}"


def is_work(rule: str) -> bool:
    """Whether a rule runs a command; targets only collect files."""
    return not rule.startswith("all_")


def duration(seconds: float) -> str:
    """Seconds, minutes or hours as text."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def logs_with_errors(logs: list[str]) -> list[str]:
    """The log files that contain an error, or all of them if none does."""
    found = [
        log
        for log in logs
        if Path(log).is_file() and _ERROR.search(Path(log).read_text(errors="replace"))
    ]
    return found or logs


def tail(logs: list[str]) -> str:
    """The last lines of log files, and their paths."""
    shown = []
    for log in logs:
        path = Path(log)
        lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
        shown += [f"  {line}" for line in lines[-TAIL_LINES:]]
        shown.append(f"  log: {path.absolute()}")
    return "\n".join(shown)


def _by_log(job: dict[str, Any]) -> str:
    """A name for a job from the path of its log, `logs/<rule>/<wildcards>.log`."""
    parts = Path(job["log"][0]).with_suffix("").parts if job["log"] else ()
    return " ".join(parts[parts.index("logs") + 1 :]) if "logs" in parts else job["rule_name"]
