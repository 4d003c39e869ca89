from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from naslora.core.documents import Document, parse_document
from naslora.core.errors import ManifestError

HERE = Path("folder") / "note.json"


class Note(Document):
    schema_version: Literal[3] = 3
    text: str
    lines: list[int] = Field(default_factory=list)


def parsed(data: bytes) -> Note:
    return parse_document(data, Note, HERE, "note", "write it again", ManifestError)


def test_what_is_written_is_read() -> None:
    note = Note(text="ä", lines=[1, 2])
    assert parsed(note.model_dump_json().encode()) == note
    assert parsed(json.dumps(note.model_dump(mode="json"), indent=2).encode()) == note


@pytest.mark.parametrize(
    ("data", "says", "remedy"),
    [
        (b"", "this note is damaged: Expecting value", "write it again"),
        (b'{"schema_version": 3, "te', "this note is damaged: Unterminated", "write it again"),
        (b'{"text": "\xff"}', "this note is damaged: 'utf-8' codec", "write it again"),
        (b"[]", "schema version None; this naslora reads 3", "newer one; or write it again"),
        (b'{"text": "a"}', "schema version None; this naslora reads 3", "or write it again"),
        (b'{"text": "a", "schema_version": 4}', "schema version 4; this naslora", "newer one"),
        (b'{"schema_version": 3}', "this note is invalid: text: Field required", "write it again"),
        (
            b'{"schema_version": 3, "text": "a", "lines": [1, "x"]}',
            "this note is invalid: lines.1: Input should be a valid integer",
            "write it again",
        ),
        (
            b'{"schema_version": 3, "text": "a", "more": 1}',
            "this note is invalid: more: Extra inputs are not permitted",
            "write it again",
        ),
    ],
)
def test_what_is_wrong_is_said(data: bytes, says: str, remedy: str) -> None:
    with pytest.raises(ManifestError) as caught:
        parsed(data)
    assert says in caught.value.what
    assert remedy in str(caught.value.remedy)
    assert caught.value.where == HERE.absolute()
