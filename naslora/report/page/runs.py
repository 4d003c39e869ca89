"""The report's part on each run: scores, learning curve, settings and provenance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml
from markupsafe import Markup

from naslora.report.page.curve import learning_curve
from naslora.report.tables.markdown import DASH
from naslora.report.tables.model import run_title
from naslora.results.aggregate import Aggregate
from naslora.study.layout import Layout
from naslora.study.records import Receipt, Record, read_record
from naslora.study.settings import Study

_PERCENTAGES = ("BER", "mBER")  # in records these are percent, all other scores fractions


@dataclass(frozen=True)
class RunPage:
    """One run's part of the report.

    Attributes:
        scores: metric, then its value per test set, as text.
        facts: name and value of what was measured beside scores, and of the provenance.
        settings: all settings as YAML; empty for a control.
        curve: the learning curve; None without a finished epoch.
    """

    anchor: str
    task: str
    variant: str
    title: str
    seed: int
    status: str
    message: str | None
    test_sets: list[str]
    scores: list[tuple[str, list[str]]]
    facts: list[tuple[str, str]]
    settings: str
    curve: Markup | None


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
        place = path.relative_to(layout.root).as_posix()
        pages.append(_page(read_record(path), run_title(records, run[1]), place))
    return pages


def anchor(task: str, variant: str, seed: int) -> str:
    """The fragment of a run's address within the report."""
    return f"run-{task}-{variant}-{seed}"


def _page(record: Record, title: str, place: str) -> RunPage:
    training = record.training
    metrics = list(dict.fromkeys(name for scores in record.metrics.values() for name in scores))
    return RunPage(
        anchor=anchor(record.task, record.variant, record.seed),
        task=record.task,
        variant=record.variant,
        title=title if record.training else record.title,
        seed=record.seed,
        status=record.status,
        message=record.message,
        test_sets=list(record.metrics),
        scores=[
            (name, [_score(name, scores.get(name)) for scores in record.metrics.values()])
            for name in metrics
        ],
        facts=[("record", place), *_facts(record)],
        settings=yaml.safe_dump(training.settings, sort_keys=False) if training else "",
        curve=_curve(training) if training and training.history else None,
    )


def _score(name: str, value: float | None) -> str:
    if value is None:
        return DASH
    return f"{value:.2f} %" if name.startswith(_PERCENTAGES) else f"{value:.4f}"


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
