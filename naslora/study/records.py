"""Receipts of training runs and records of evaluations, with their provenance."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from naslora.core.documents import D, Document, Sha256, parse_document
from naslora.core.errors import RecordError
from naslora.core.files import fingerprint, sha256, write_json

SCHEMA_VERSION: Literal[1] = 1
# Titles of the controls: predictions that ignore the test image, see naslora.evaluation.controls.
# The keys are the `variant` of their records, which are `records/<task>/<variant>/seed0.json`, like
# those of runs, with `training` None.
CONTROLS = {
    "control_blank": "Blank mask",
    "control_foreground": "All foreground",
    "control_mean_mask": "Mean training mask",
    "control_mean_mask_best": "Mean mask, best threshold",
}
Status = Literal["done", "diverged", "failed", "interrupted"]
_REMEDY = "delete it and run the same command again"
_Count = Annotated[int, Field(ge=0)]
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
# Largest values of the metrics that are not fractions; see naslora.evaluation.names.
_LARGEST = {"BER": 100.0, "BER_image": 100.0, "mBER": 100.0, "MAE": 255.0}
# E divides by N - 1 for N pixels, so that a perfect mask scores N / (N - 1).
_TOLERANCE = 1e-2


class FileHash(Document):
    """Name and hash of a file beside the document."""

    name: Annotated[str, Field(pattern=r"^[^/\\\\]+$")]
    sha256: Sha256
    bytes: _Count

    @classmethod
    def of(cls, path: Path) -> FileHash:
        return cls(name=path.name, sha256=sha256(path), bytes=path.stat().st_size)


class Provenance(Document):
    """The machine and the code that produced a result."""

    hardware: dict[str, Any]
    versions: dict[str, str]
    git_revision: str | None
    git_dirty: bool | None


class Receipt(Document):
    """Results of a training run; written as `training.json` when the run ends.

    `original_parameters` is the number of parameters of Meta's SAM with the same backbone and image
    size, None in old receipts; `total_parameters` is that of the adapted SAM.

    `history` has one entry per epoch, with the keys: `epoch`, counted from 1; `loss`, the mean
    training loss; `architecture_loss`, the mean loss of the second passes, if there were any;
    `val_loss` and `val_score`, the mean loss and the score (mean IoU over images, or over
    classes, in [0, 1]) on validation images, in the epochs that were followed by a validation
    (see `naslora.training.validation`); `seconds`, the time of the epoch's training steps. It is
    shorter than the settings' `epochs` if the run was stopped early. `selected_epoch` is the epoch
    with the best `val_score`, whose weights were kept; None if the last epoch's were kept.

    `alpha` has one entry per epoch with the softmax of the architecture parameters by cell, and is
    empty for methods without a cell.

    A run that was stopped and resumed has several `attempts`. `wall_time_s` is the sum of the time
    that led to the result: each attempt counts from its start to the checkpoint that the next one
    resumed from, the last one to its end. `provenance` is that of the last attempt,
    `peak_memory_bytes` the maximum over attempts.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    status: Status
    message: str | None = None
    settings: dict[str, Any]
    fingerprint: str
    manifest_sha256: str
    checkpoint_sha256: str | None
    adapter: FileHash | None
    trainable_parameters: _Count
    total_parameters: _Count
    original_parameters: Annotated[int, Field(ge=1)] | None = None
    history: list[dict[str, float]]
    selected_epoch: int | None = None
    alpha: list[dict[str, list[float]]] = Field(default_factory=list)
    attempts: int = 1
    wall_time_s: _Seconds
    peak_memory_bytes: _Count
    provenance: Provenance

    @field_validator("history")
    @classmethod
    def _epochs_in_order(cls, history: list[dict[str, float]]) -> list[dict[str, float]]:
        for number, epoch in enumerate(history, 1):
            if epoch.get("epoch") != number or "loss" not in epoch:
                raise ValueError(f"entry {number} is not of epoch {number} with its loss")
            for name, value in epoch.items():
                if not math.isfinite(value):
                    raise ValueError(f"{name} of epoch {number} is {value}")
        return history

    @model_validator(mode="after")
    def _consistent(self) -> Receipt:
        if (self.status == "done") != (self.adapter is not None):
            raise ValueError("adapter weights belong to runs that are done, and to no others")
        return self


class Attempt(Document):
    """State of the last attempt at a run without a receipt; written as `attempt.json`.

    The status is "interrupted" from the start, since a killed process cannot write it, and "failed"
    after an error. The file is removed once the run has a receipt.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    status: Literal["failed", "interrupted"]
    message: str
    fingerprint: str
    attempts: int


class Record(Document):
    """One evaluated run, or one control. `metrics` maps test set to metric to value.

    `title` is the method's name in tables. `digest` is the SHA-256 of all other fields, computed by
    `naslora.core.files.fingerprint`; None in a record of an older version.

    Metrics are in the unit of their definition: fractions in [0, 1], except for balanced error
    rates, which are percentages, and MAE, which is in class numbers.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    status: Status
    message: str | None = None
    study: str
    task: str
    variant: str
    method: str
    title: str
    seed: _Count
    training: Receipt | None
    evaluation: dict[str, Any]
    manifest_sha256: str
    metrics: dict[str, dict[str, float]]
    images: dict[str, Annotated[int, Field(ge=1)]]
    per_image: FileHash | None
    evaluation_time_s: _Seconds
    provenance: Provenance
    digest: str | None = None

    @field_validator("metrics")
    @classmethod
    def _in_range(cls, metrics: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
        for test_set, values in metrics.items():
            if not values:
                raise ValueError(f"there is no metric on {test_set}")
            for name, value in values.items():
                largest = _LARGEST.get(name, 1 + _TOLERANCE)
                if not 0 <= value <= largest:  # true for NaN too
                    raise ValueError(f"{name} on {test_set} is {value}, not from 0 to {largest:g}")
        return metrics

    @model_validator(mode="after")
    def _consistent(self) -> Record:
        if (self.status == "done") != bool(self.metrics):
            raise ValueError("metrics belong to runs that are done, and to no others")
        if self.images.keys() != self.metrics.keys():
            raise ValueError("images and metrics are of different test sets")
        return self


def write_document(path: Path, document: Receipt | Attempt | Record) -> None:
    """Write a receipt, attempt or record, whole or not at all.

    Raises:
        DiskError: the file cannot be written.
    """
    content = document.model_dump(mode="json")
    if isinstance(document, Record):
        content["digest"] = _digest(content)
    write_json(path, content)


def read_receipt(path: Path) -> Receipt:
    """Read a training receipt.

    Raises:
        RecordError: it is missing, damaged, or of an unknown schema version.
    """
    return _read(path, Receipt)


def read_attempt(path: Path) -> Attempt:
    """Read the state of the last attempt at a run.

    Raises:
        RecordError: it is missing, damaged, or of an unknown schema version.
    """
    return _read(path, Attempt)


def read_record(path: Path) -> Record:
    """Read a record, and check that it and its per-image file are unchanged.

    Raises:
        RecordError: it is missing, damaged, changed, or of an unknown schema version; or its
            per-image file is missing or has another hash.
    """
    record = _read(path, Record)
    if record.digest is not None and record.digest != _digest(json.loads(path.read_bytes())):
        raise RecordError(
            "this record was changed after it was written",
            where=path,
            remedy="delete it and evaluate the run again",
        )
    if record.per_image is not None:
        if record.per_image.name != path.with_suffix(".parquet").name:
            raise RecordError(
                f"this record names {record.per_image.name}, which is not the file beside it",
                where=path,
                remedy=_REMEDY,
            )
        per_image = path.with_name(record.per_image.name)
        if not per_image.is_file():
            raise RecordError(
                "the per-image metrics of a record are missing",
                where=per_image,
                remedy="delete the record and evaluate the run again",
            )
        if sha256(per_image) != record.per_image.sha256:
            raise RecordError(
                "the per-image metrics are not those of the record beside them",
                where=per_image,
                remedy="delete both files and run the evaluation again",
            )
    return record


def _digest(content: dict[str, Any]) -> str:
    """The hash of a record's content, without the hash itself."""
    try:
        return fingerprint({name: value for name, value in content.items() if name != "digest"})
    except ValueError:  # it contains NaN, which is never written
        return ""


def _read(path: Path, kind: type[D]) -> D:
    noun = kind.__name__.lower()
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        step = "evaluate" if kind is Record else "train"
        raise RecordError(
            f"{noun} not found", where=path, remedy=f"run the step that writes it: naslora {step}"
        ) from None
    return parse_document(data, kind, path, noun, _REMEDY, RecordError)
