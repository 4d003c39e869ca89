"""Reading and validating records, on all cores where there are thousands."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from naslora.core.errors import NasloraError, RecordError
from naslora.core.files import sha256
from naslora.core.processors import available_cores
from naslora.study.layout import Layout
from naslora.study.records import CONTROLS, Record, read_record
from naslora.study.settings import RunSettings, Study

# Records per process; with fewer, starting processes takes longer than it saves.
WORTH_A_PROCESS = 1000
_AT_ONCE = 64
# Metrics of columns that older files lack.
_OF_OTHER_COLUMNS = ("BER", "E_measure_max")
_ROUNDING = 1e-9  # of means that are summed in another order


@dataclass(frozen=True)
class Problem:
    """A record that was left out.

    `run` is the task, variant and seed that its path stands for; None if the path names no run.
    """

    path: Path
    message: str
    run: tuple[str, str, int] | None

    def line(self, root: Path) -> str:
        """Its path relative to `root`, the study's folder, and the message."""
        return f"`{self.path.relative_to(root).as_posix()}`: {self.message}"


@dataclass(frozen=True)
class RecordSummary:
    """The part of a record that tables and figures need; a whole record is a hundred times larger.

    Attributes:
        key: task, variant and seed.
        run: a row of `Aggregate.runs`.
        scores: rows of `Aggregate.scores`.
        epochs: the columns of `Aggregate.losses` that differ from epoch to epoch.
    """

    key: tuple[str, str, int]
    run: tuple[Any, ...]
    scores: list[tuple[Any, ...]]
    epochs: dict[str, list[Any]]


def readings(study: Study) -> list[RecordSummary | Problem]:
    """All records of a study, in path order."""
    layout = Layout.of(study)
    paths = sorted(layout.records.glob("*/*/*.json"))
    manifests = {
        task: sha256(path) for task in study.tasks if (path := layout.manifest(task)).is_file()
    }
    read = partial(_read, study=study, manifests=manifests)
    processes = min(available_cores(), len(paths) // WORTH_A_PROCESS)
    if processes < 2:
        return list(map(read, paths))
    with ProcessPoolExecutor(processes) as pool:
        return list(pool.map(read, paths, chunksize=_AT_ONCE))


def _read(path: Path, study: Study, manifests: Mapping[str, str]) -> RecordSummary | Problem:
    try:
        record = read_record(path)
        start = check_record(record, path, study, manifests)
        verify_metrics(record, path)
    except NasloraError as error:
        return Problem(path, error.what, _run_of(path))
    except OSError as error:
        return Problem(path, f"cannot be read: {error.strerror}", _run_of(path))
    key = (record.task, record.variant, record.seed)
    return RecordSummary(key, _run_row(record), _score_rows(record), _epochs(record, start))


def check_record(record: Record, path: Path, study: Study, manifests: Mapping[str, str]) -> int:
    """Check that a record belongs to a run of this study and has the study's current settings.

    Args:
        record: the record.
        path: where it was found.
        study: the study.
        manifests: the hash of each task's manifest, for tasks that have one here.

    Returns:
        The last epoch without a search (T_B), 0 for a control.

    Raises:
        RecordError: it does not.
    """
    here = (study.study, *(_run_of(path) or ()))
    own = (record.study, record.task, record.variant, record.seed)
    if own != here:
        raise RecordError(f"this record is of {' '.join(map(str, own))}", where=path)
    if record.evaluation.get("size") != study.evaluation.size:
        raise RecordError("evaluated at another size than the study names", where=path)
    if manifests.get(record.task, record.manifest_sha256) != record.manifest_sha256:
        raise RecordError("made with other images or another split than are here now", where=path)
    if record.task in study.tasks and record.variant in CONTROLS:
        method, fingerprint, start = record.variant, None, 0
        if record.evaluation.get("image_size") != study.sam.image_size:
            raise RecordError("made from masks of another size than the study has", where=path)
    elif record.task not in study.tasks or record.variant not in study.run_names(record.task):
        raise RecordError("the study has no such task and variant now", where=path)
    else:
        run = study.run(record.task, record.variant, record.seed)
        method, fingerprint = run.method, run.fingerprint()
        start = run.training.architecture.start_epoch
    if record.method != method:
        raise RecordError(f"its method is {record.method}, not {method}", where=path)
    if fingerprint is None:
        return start
    if record.training is None:
        raise RecordError("a trained run must include its training receipt", where=path)
    if record.training.fingerprint != fingerprint:
        raise RecordError("trained with other settings than the study has now", where=path)
    _check_settings(record.training.settings, path)
    if record.training.status != record.status and record.status == "done":
        raise RecordError(f"evaluated though training is {record.training.status}", where=path)
    return start


def _check_settings(settings: Mapping[str, Any], path: Path) -> None:
    """Raise RecordError if a receipt's settings are incomplete or out of range."""
    try:
        RunSettings.model_validate({**settings, "sam": {"checkpoints": ".", **settings["sam"]}})
    except (ValidationError, KeyError, TypeError) as error:
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            what = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        else:
            what = "the section sam is missing"
        raise RecordError(f"its training settings are damaged: {what}", where=path) from None


def verify_metrics(record: Record, path: Path) -> None:
    """Check a record's metrics against the per-image file beside it.

    The maximum of E is that of the mean curve, which per-image values do not determine: it must
    lie between the set's mean E and the mean of the images' maxima.

    Args:
        record: as it was read.
        path: its file.

    Raises:
        RecordError: the file cannot be read, has other images than the record counts, or gives
            other values.
    """
    # Imported here, because the workflow imports this module without reading per-image metrics.
    import pandas as pd

    from naslora.results.set_metrics import set_metric

    if record.per_image is None:
        if record.metrics:
            raise RecordError("it has scores but no per-image metrics", where=path)
        return
    file = path.with_name(record.per_image.name)
    try:
        every = pd.read_parquet(file)
        by_set = {str(name): rows for name, rows in every.groupby("test_set")}
    except (OSError, ValueError, KeyError) as error:
        raise RecordError(f"its per-image metrics cannot be read: {error}", where=file) from None
    if {name: len(rows) for name, rows in by_set.items()} != record.images:
        raise RecordError("its per-image metrics are of other images than it counts", where=file)
    for test_set, values in record.metrics.items():
        rows = by_set[test_set]
        for metric, value in values.items():
            found = set_metric(metric, rows)
            if found is not None:
                same = abs(found.value() - value) <= _ROUNDING
            elif metric == "E_measure_max" and metric in rows:
                low, high = values.get("E_measure", 0.0), float(rows[metric].mean())
                same = low - _ROUNDING <= value <= high + _ROUNDING
            else:
                same = metric in _OF_OTHER_COLUMNS
            if not same:
                raise RecordError(
                    f"{metric} on {test_set} is {value}, which its per-image metrics do not give",
                    where=path,
                )


def _run_of(path: Path) -> tuple[str, str, int] | None:
    seed = path.stem.removeprefix("seed")
    return (path.parts[-3], path.parts[-2], int(seed)) if seed.isdecimal() else None


def _run_row(record: Record) -> tuple[Any, ...]:
    training = record.training
    return (
        record.task,
        record.variant,
        record.method,
        record.title,
        record.seed,
        record.status,
        record.message,
        training.trainable_parameters if training else None,
        training.original_parameters if training else None,
        bool(training and training.alpha),
        record.images,
        _code(record),
    )


def _code(record: Record) -> str:
    """Code and device of a record: revision (marked if files had changed), torch, device."""
    made = record.provenance
    revision = (made.git_revision or "unknown")[:8] + (" (changed)" if made.git_dirty else "")
    torch = made.versions.get("torch", "unknown")
    return f"revision {revision}, torch {torch}, {made.hardware.get('device', 'unknown')}"


def _score_rows(record: Record) -> list[tuple[Any, ...]]:
    run = (record.variant, record.method, record.seed)
    return [
        (record.task, test_set, *run, metric, value)
        for test_set, values in record.metrics.items()
        for metric, value in values.items()
    ]


def _epochs(record: Record, start: int) -> dict[str, list[Any]]:
    training = record.training
    history = training.history if training else []
    epochs = [int(epoch["epoch"]) for epoch in history]
    searches = bool(training and training.alpha)
    return {
        "epoch": epochs,
        "loss": [epoch["loss"] for epoch in history],
        "val_score": [epoch.get("val_score") for epoch in history],
        "val_loss": [epoch.get("val_loss") for epoch in history],
        "seconds": [epoch.get("seconds") for epoch in history],
        "searching": [searches and epoch > start for epoch in epochs],
    }
