"""The report's part on each run: scores, learning curve, settings and provenance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import yaml
from markupsafe import Markup

from naslora.evaluation.names import MetricName, metric_name
from naslora.report.page.curve import learning_curve
from naslora.report.tables.markdown import DASH
from naslora.report.tables.model import row_title
from naslora.report.tables.own_tasks import has_paper_tasks
from naslora.results.aggregate import Aggregate
from naslora.study.layout import Layout
from naslora.study.records import CONTROLS, Receipt, Record, read_record
from naslora.study.settings import Study


@dataclass(frozen=True)
class ScoreLine:
    """A metric as in tables: its title with unit and direction, its key in records, its values."""

    title: str
    key: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class RunPage:
    """One run's part of the report.

    Attributes:
        scores: a line per metric, with its value per test set.
        paths: description and path of each file, relative to the study's folder.
        commands: the commands that reproduce the run; empty if there are none.
        facts: name and value of other measurements, and of the provenance.
        settings: all settings as YAML; empty for a control.
        curve: the learning curve; None without a finished epoch.
        metrics: the record's scores by test set and metric.
    """

    anchor: str
    group: str
    task: str
    variant: str
    title: str
    seed: int
    status: str
    message: str | None
    test_sets: list[str]
    scores: list[ScoreLine]
    paths: list[tuple[str, str]]
    commands: list[str]
    facts: list[tuple[str, str]]
    settings: str
    curve: Markup | None
    metrics: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class RunGroup:
    """The runs of one method or variant on one task, by seed.

    `scores` has the test sets, and for each a line per metric with its value per run.
    """

    anchor: str
    task: str
    method: str
    title: str
    runs: tuple[RunPage, ...]
    scores: tuple[tuple[str, tuple[ScoreLine, ...]], ...]


def run_pages(study: Study, records: Aggregate) -> list[RunPage]:
    """All runs with a record, in the order of tasks, methods and seeds.

    Raises:
        RecordError: a record changed since it was read.
    """
    layout = Layout.of(study)
    runs = records.runs
    tasks = {task: place for place, task in enumerate(study.tasks)}
    names = {name: place for place, name in enumerate(study.run_names())}
    found = sorted(
        zip(runs["task"], runs["variant"], runs["seed"], strict=True),
        key=lambda run: (tasks.get(run[0], 0), names.get(run[1], -1), run[1], run[2]),
    )
    pages = []
    for run in found:
        path = layout.record(*run)
        relative = path.relative_to(layout.root).as_posix()
        title, commands = row_title(study, records, run[1]), _commands(study, *run)
        pages.append(_page(read_record(path), title, relative, commands))
    return pages


def run_groups(runs: Sequence[RunPage], method_of: Callable[[str], str]) -> list[RunGroup]:
    """The runs of each method on each task.

    Args:
        runs: all of them, in the order of `run_pages`.
        method_of: the method that a variant's name stands for.
    """
    return [
        RunGroup(
            anchor=group_anchor(task, variant),
            task=task,
            method=method_of(variant),
            title=found[0].title,
            runs=tuple(found),
            scores=tuple(_group_scores(found)),
        )
        for (task, variant), group in groupby(runs, key=lambda run: (run.task, run.variant))
        if (found := list(group))
    ]


def _group_scores(runs: Sequence[RunPage]) -> Iterator[tuple[str, tuple[ScoreLine, ...]]]:
    for test_set in dict.fromkeys(name for run in runs for name in run.test_sets):
        scores = [run.metrics.get(test_set, {}) for run in runs]
        yield test_set, tuple(_score_lines(scores))


def anchor(task: str, variant: str, seed: int) -> str:
    """The fragment of a run's address within the report."""
    return f"run-{task}-{variant}-{seed}"


def group_anchor(task: str, variant: str) -> str:
    """The fragment of the address of all runs of a method on a task."""
    return f"runs-{task}-{variant}"


def _commands(study: Study, task: str, variant: str, seed: int) -> list[str]:
    """The commands that reproduce a run, for studies that a command can name."""
    if not has_paper_tasks(study):
        return []
    if variant in CONTROLS:
        return [f"naslora controls --study {study.study} --task {task}"]
    options = f"--study {study.study} --task {task} --variant {variant} --seed {seed}"
    return [f"naslora {step} {options}" for step in ("train", "evaluate")]


def _page(record: Record, title: str, path: str, commands: list[str]) -> RunPage:
    training = record.training
    return RunPage(
        anchor=anchor(record.task, record.variant, record.seed),
        group=group_anchor(record.task, record.variant),
        task=record.task,
        variant=record.variant,
        title=title,
        seed=record.seed,
        status=record.status,
        message=record.message,
        test_sets=list(record.metrics),
        scores=_score_lines(list(record.metrics.values())),
        paths=_paths(record, path),
        commands=commands,
        facts=_facts(record),
        settings=yaml.safe_dump(training.settings, sort_keys=False) if training else "",
        curve=_curve(training) if training and training.history else None,
        metrics=record.metrics,
    )


def _paths(record: Record, path: str) -> list[tuple[str, str]]:
    """The record, the metrics of each image beside it, and the list of images."""
    paths = [("record", path)]
    if record.per_image:
        paths.append(("metrics of each image", path.removesuffix(".json") + ".parquet"))
    return [*paths, ("manifest of the images", f"manifests/{record.task}.json")]


def _score_lines(scores: Sequence[Mapping[str, float]]) -> list[ScoreLine]:
    """A line per metric that any of these has, with its value in each."""
    lines = []
    for key in dict.fromkeys(name for one in scores for name in one):
        name = metric_name(key)
        unit = f", {name.unit}" if name.unit else ""
        title = f"{name.title}{unit} {'↑' if name.higher_is_better else '↓'}"
        values = (_value(name, one.get(key)) for one in scores)
        lines.append(ScoreLine(title, key, tuple(values)))
    return lines


def _value(name: MetricName, value: float | None) -> str:
    return DASH if value is None else f"{name.scale * value:.{name.decimals}f}"


def _curve(training: Receipt) -> Markup:
    searches = bool(training.alpha)
    start = training.settings["training"]["architecture"]["start_epoch"] if searches else None
    return learning_curve([epoch["loss"] for epoch in training.history], start)


def _facts(record: Record) -> list[tuple[str, str]]:
    made = record.provenance
    images = ", ".join(f"{count} of {name}" for name, count in record.images.items())
    facts = [("evaluated images", images or "none")]
    training = record.training
    if training:
        facts += [
            ("trained parameters", f"{training.trainable_parameters:,}"),
            ("all parameters", f"{training.total_parameters:,}"),
            ("adapter file", _size(training.adapter.bytes) if training.adapter else "none"),
            ("training time", _time(training.wall_time_s)),
            ("peak memory", _size(training.peak_memory_bytes)),
        ]
    facts += [("evaluation time", _time(record.evaluation_time_s))]
    facts += [
        (
            name.replace("_", " "),
            ", ".join(map(str, value)) if isinstance(value, list) else str(value),
        )
        for name, value in _nonempty((training.provenance if training else made).hardware)
    ]
    revision = (made.git_revision or "unknown")[:12] + (", changed" if made.git_dirty else "")
    facts.append(("revision", revision))
    facts.append(("versions", ", ".join(f"{name} {v}" for name, v in made.versions.items())))
    facts.append(("images (manifest)", record.manifest_sha256[:16]))
    if training:
        facts.append(("SAM (checkpoint)", (training.checkpoint_sha256 or "random")[:16]))
        if training.adapter:
            facts.append(("adapter (SHA-256)", training.adapter.sha256[:16]))
        facts.append(("settings (fingerprint)", training.fingerprint[:16]))
    return facts


def _nonempty(hardware: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in hardware.items() if value not in (None, "")]


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.2f} MB"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
