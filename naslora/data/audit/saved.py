"""Reading the file of an audit, for tables, reports and a repeated call of `naslora fit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from naslora.core.documents import Document, parse_document
from naslora.core.errors import AuditError

_Count = Annotated[int, Field(ge=0)]


class SavedFinding(Document):
    """A finding: what was found, and the files or ids it was found in."""

    model_config = ConfigDict(extra="ignore")

    text: str
    items: list[str]


class SavedAudit(Document):
    """The part of an audit's file that is read again; the file holds more, for people to read.

    Attributes:
        splits: number of images of each split.
        like_training_images: for each split other than training, the number of its images that are
            identical or nearly identical to a training image.
        findings: everything that was found.
    """

    model_config = ConfigDict(extra="ignore")

    schema_version: Literal[1] = 1
    splits: dict[str, _Count]
    like_training_images: dict[str, _Count]
    findings: list[SavedFinding]

    @model_validator(mode="after")
    def _consistent(self) -> SavedAudit:
        if unknown := sorted(self.like_training_images.keys() - self.splits.keys()):
            raise ValueError(f"like_training_images names unknown splits: {unknown}")
        return self


def read_audit(path: Path) -> SavedAudit:
    """Read the file of an audit.

    Raises:
        AuditError: it is damaged, or of another version of naslora.
    """
    remedy = "delete it and prepare the task again: naslora prepare; naslora fit does so by itself"
    return parse_document(path.read_bytes(), SavedAudit, path, "audit", remedy, AuditError)
