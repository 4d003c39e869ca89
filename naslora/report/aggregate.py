"""All records of a study in two tidy tables; what cannot be trusted is named and left out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from naslora.errors import NasloraError, RecordError
from naslora.files import sha256
from naslora.layout import Layout
from naslora.records import CONTROLS, Record, read_record
from naslora.settings import Study

_RUN_COLUMNS = [
    "task",
    "variant",
    "method",
    "title",
    "seed",
    "status",
    "message",
    "trainable_parameters",
    "total_parameters",
    "searches",
    "images",
    "code",
]
_SCORE_COLUMNS = ["task", "test_set", "variant", "method", "seed", "metric", "value", "status"]
_LOSS_COLUMNS = ["task", "variant", "seed", "epoch", "loss"]


@dataclass(frozen=True)
class Problem:
    """A record that was left out.

    `run` is the task, variant and seed that its place in the folder stands for; None where its
    place names no run.
    """

    path: Path
    message: str
    run: tuple[str, str, int] | None


@dataclass(frozen=True)
class Aggregate:
    """A study's records.

    Attributes:
        scores: one row per task, test set, variant, method, seed and metric, with its value (in
            the record's unit) and the run's status, which is always `done`.
        runs: one row per record, with its status (`done`, `diverged`, `failed`, `interrupted`),
            its message, its parameter counts (None for a control), `searches` (whether it has
            architecture parameters), `images`, a mapping of test set to number of images, and
            `code`, which names revision, torch and device.
        losses: one row per trained run and epoch (from 1) with its mean training loss.
        problems: the records that were left out, in path order.
    """

    scores: pd.DataFrame
    runs: pd.DataFrame
    losses: pd.DataFrame
    problems: tuple[Problem, ...]


def aggregate(study: Study) -> Aggregate:
    """Read all records of a study.

    A record is left out, and named in `problems`, when it cannot be read, does not belong where
    it lies, or was made with other settings than the study has now.
    """
    root = Layout.of(study).records
    runs: list[dict[str, Any]] = []
    scores: list[dict[str, Any]] = []
    losses: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for path in sorted(root.glob("*/*/*.json")):
        try:
            record = read_record(path)
            _check(record, path, study)
        except NasloraError as error:
            problems.append(Problem(path, error.what, _run_of(path)))
            continue
        except OSError as error:
            problems.append(Problem(path, f"cannot be read: {error.strerror}", _run_of(path)))
            continue
        runs.append(_run_row(record))
        scores += _score_rows(record)
        losses += _loss_rows(record)
    return Aggregate(
        scores=pd.DataFrame(scores, columns=_SCORE_COLUMNS),
        runs=pd.DataFrame(runs, columns=_RUN_COLUMNS),
        losses=pd.DataFrame(losses, columns=_LOSS_COLUMNS),
        problems=tuple(problems),
    )


def _check(record: Record, path: Path, study: Study) -> None:
    """Raise RecordError when a sound record has no place in this study."""
    here = (study.study, *(_run_of(path) or ()))
    own = (record.study, record.task, record.variant, record.seed)
    if own != here:
        raise RecordError(f"this record is of {' '.join(map(str, own))}", where=path)
    if record.evaluation.get("size") != study.evaluation.size:
        raise RecordError("evaluated at another size than the study names", where=path)
    manifest = Layout.of(study).manifest(record.task)
    if manifest.is_file() and sha256(manifest) != record.manifest_sha256:
        raise RecordError("made with other images or another split than are here now", where=path)
    if record.variant in CONTROLS:
        return
    if record.task not in study.tasks or record.variant not in study.run_names():
        raise RecordError("the study has no such task and variant now", where=path)
    if record.training is None:
        raise RecordError("a trained run without the receipt of its training", where=path)
    if (
        record.training.fingerprint
        != study.run(record.task, record.variant, record.seed).fingerprint()
    ):
        raise RecordError("trained with other settings than the study has now", where=path)


def _run_of(path: Path) -> tuple[str, str, int] | None:
    seed = path.stem.removeprefix("seed")
    return (path.parts[-3], path.parts[-2], int(seed)) if seed.isdecimal() else None


def _run_row(record: Record) -> dict[str, Any]:
    training = record.training
    return {
        "task": record.task,
        "variant": record.variant,
        "method": record.method,
        "title": record.title,
        "seed": record.seed,
        "status": record.status,
        "message": record.message,
        "trainable_parameters": training.trainable_parameters if training else None,
        "total_parameters": training.total_parameters if training else None,
        "searches": bool(training and training.alpha),
        "images": record.images,
        "code": _code(record),
    }


def _code(record: Record) -> str:
    """What computed a record: revision, with a mark if files had changed, torch and device."""
    made = record.provenance
    revision = (made.git_revision or "unknown")[:8] + (" (changed)" if made.git_dirty else "")
    torch = made.versions.get("torch", "unknown")
    return f"revision {revision}, torch {torch}, {made.hardware.get('device', 'unknown')}"


def _score_rows(record: Record) -> list[dict[str, Any]]:
    return [
        {
            "task": record.task,
            "test_set": test_set,
            "variant": record.variant,
            "method": record.method,
            "seed": record.seed,
            "metric": metric,
            "value": value,
            "status": record.status,
        }
        for test_set, values in record.metrics.items()
        for metric, value in values.items()
    ]


def _loss_rows(record: Record) -> list[dict[str, Any]]:
    return [
        {
            "task": record.task,
            "variant": record.variant,
            "seed": record.seed,
            "epoch": int(epoch["epoch"]),
            "loss": epoch["loss"],
        }
        for epoch in (record.training.history if record.training else [])
    ]
