from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from naslora.core.errors import RecordError
from naslora.core.files import sha256
from naslora.study.records import (
    FileHash,
    Provenance,
    Receipt,
    Record,
    read_receipt,
    read_record,
    write_document,
)

PROVENANCE = Provenance(
    hardware={"device": "cpu"}, versions={"torch": "2"}, git_revision=None, git_dirty=None
)
ADAPTER = FileHash(name="adapter.safetensors", sha256="0" * 64, bytes=3)


def receipt(**changes: Any) -> Receipt:
    values: dict[str, Any] = {
        "status": "done",
        "settings": {"method": "lora"},
        "fingerprint": "f",
        "manifest_sha256": "1" * 64,
        "checkpoint_sha256": None,
        "adapter": ADAPTER,
        "trainable_parameters": 10,
        "total_parameters": 100,
        "history": [{"epoch": 1.0, "loss": 0.1 + 0.2}],
        "alpha": [{"cell": [0.5, 0.5]}],
        "wall_time_s": 1.5,
        "peak_memory_bytes": 1,
        "provenance": PROVENANCE,
    }
    return Receipt(**{**values, **changes})


def record(**changes: Any) -> Record:
    values: dict[str, Any] = {
        "status": "done",
        "study": "rehearsal",
        "task": "kvasir",
        "variant": "lora",
        "method": "lora",
        "title": "LoRA",
        "seed": 0,
        "training": receipt(),
        "evaluation": {"size": "native"},
        "manifest_sha256": "1" * 64,
        "metrics": {"test": {"IoU": 1 / 3}},
        "images": {"test": 5},
        "per_image": None,
        "evaluation_time_s": 1.0,
        "provenance": PROVENANCE,
    }
    return Record(**{**values, **changes})


def test_documents_come_back_bit_for_bit(tmp_path: Path) -> None:
    write_document(tmp_path / "training.json", receipt())
    write_document(tmp_path / "seed0.json", record())
    assert read_receipt(tmp_path / "training.json") == receipt()
    read = read_record(tmp_path / "seed0.json")
    assert read.model_copy(update={"digest": None}) == record()
    before = (tmp_path / "seed0.json").read_bytes()
    write_document(tmp_path / "seed0.json", read_record(tmp_path / "seed0.json"))
    assert (tmp_path / "seed0.json").read_bytes() == before


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_metrics_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValidationError, match="IoU on test is"):
        record(metrics={"test": {"IoU": value}})
    text = record().model_dump_json().replace(str(1 / 3), "NaN")
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(RecordError, match="IoU on test is nan"):
        read_record(tmp_path / "a.json")


def test_a_loss_that_is_not_finite_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_document(tmp_path / "a.json", receipt(wall_time_s=1.0, alpha=[{"a": [float("nan")]}]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ([{"epoch": 1.0, "loss": float("nan")}], "loss of epoch 1 is nan"),
        ([{"epoch": 2.0, "loss": 1.0}], "entry 1 is not of epoch 1"),
        ([{"epoch": 1.0}], "entry 1 is not of epoch 1 with its loss"),
    ],
)
def test_a_history_is_of_epochs_in_order(history: list[dict[str, float]], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        receipt(history=history)


@pytest.mark.parametrize(
    ("metric", "value", "fits"),
    [
        ("IoU", 1.0, True),
        ("E_measure", 1.0001, True),
        ("IoU", 1.2, False),
        ("IoU", -0.1, False),
        ("BER", 50.0, True),
        ("BER", 101.0, False),
        ("MAE", 1.5, True),
    ],
)
def test_metrics_have_ranges(metric: str, value: float, fits: bool) -> None:
    if fits:
        record(metrics={"test": {metric: value}})
    else:
        with pytest.raises(ValidationError, match=f"{metric} on test is"):
            record(metrics={"test": {metric: value}})


@pytest.mark.parametrize("name", ["a/b.parquet", "..\\b", "", "../seed0.parquet"])
def test_a_file_beside_a_document_has_no_path(name: str) -> None:
    with pytest.raises(ValidationError, match="name"):
        FileHash(name=name, sha256="0" * 64, bytes=1)


def test_a_changed_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "seed0.json"
    write_document(path, record())
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content))
    read_record(path)  # in another layout
    path.write_text(json.dumps({**content, "title": "Best"}))
    with pytest.raises(RecordError, match="changed after it was written"):
        read_record(path)
    del content["digest"]
    path.write_text(json.dumps(content))
    read_record(path)  # of an older version


def test_status_and_content_agree() -> None:
    for status in ("diverged", "failed", "interrupted"):
        receipt(status=status, adapter=None)
        record(status=status, metrics={}, images={})
        with pytest.raises(ValidationError, match="adapter weights belong"):
            receipt(status=status)
        with pytest.raises(ValidationError, match="metrics belong"):
            record(status=status)
    with pytest.raises(ValidationError, match="adapter weights belong"):
        receipt(adapter=None)
    with pytest.raises(ValidationError, match="metrics belong"):
        record(metrics={})
    with pytest.raises(ValidationError, match="status"):
        receipt(status="fine")


def test_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "seed0.json"
    write_document(path, record())
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(RecordError, match="this record is damaged") as caught:
        read_record(path)
    assert caught.value.where == path
    assert "delete it" in (caught.value.remedy or "")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecordError, match="damaged"):
        read_record(path)
    path.write_bytes(b"")
    with pytest.raises(RecordError, match="damaged"):
        read_record(path)


def test_a_missing_file_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="receipt not found") as caught:
        read_receipt(tmp_path / "training.json")
    assert caught.value.where == tmp_path / "training.json"
    assert caught.value.remedy


@pytest.mark.parametrize("version", [0, 2, None, "1"])
def test_other_schema_versions(tmp_path: Path, version: object) -> None:
    content = json.loads(record().model_dump_json())
    content["schema_version"] = version
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(RecordError, match=f"schema version {version}; this naslora reads 1"):
        read_record(tmp_path / "a.json")
    for text in ("[]", record().model_dump_json(exclude={"schema_version"})):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(RecordError, match="schema version None"):
            read_record(tmp_path / "a.json")


def test_unknown_and_missing_fields(tmp_path: Path) -> None:
    content = json.loads(record().model_dump_json())
    (tmp_path / "a.json").write_text(json.dumps({**content, "extra": 1}))
    with pytest.raises(RecordError, match="extra"):
        read_record(tmp_path / "a.json")
    del content["seed"]
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(RecordError, match="seed: Field required"):
        read_record(tmp_path / "a.json")


def test_the_per_image_file_is_the_one_of_the_record(tmp_path: Path) -> None:
    parquet, path = tmp_path / "seed0.parquet", tmp_path / "seed0.json"
    parquet.write_bytes(b"rows")
    hashed = FileHash.of(parquet)
    assert hashed == FileHash(name="seed0.parquet", sha256=sha256(parquet), bytes=4)
    write_document(path, record(per_image=hashed))
    assert read_record(path).per_image == hashed
    parquet.write_bytes(b"ROWS")
    with pytest.raises(RecordError, match="not those of the record"):
        read_record(path)
    parquet.unlink()
    with pytest.raises(RecordError, match="missing"):
        read_record(path)
