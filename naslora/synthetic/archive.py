"""Generated zip archives, which say in their comment that they are generated."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from naslora.core.files import write_bytes

Files: TypeAlias = Iterator[tuple[str, bytes]]
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip file can hold
_MARK = "generated: "


def write_zip(path: Path, files: Files, mark: str) -> None:
    """Write files to a zip archive that has the same bytes whenever it holds the same files.

    A file that holds these bytes already is not touched, and keeps its time. The mark, which
    starts with "generated: ", becomes the archive's comment.

    Raises:
        DiskError: the folder cannot be written to.
    """
    if not mark.startswith(_MARK):
        raise ValueError(f"the mark of a generated archive starts with {_MARK!r}")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.comment = mark.encode()
        for name, data in sorted(files):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data)
    data = buffer.getvalue()
    if not path.is_file() or path.read_bytes() != data:
        write_bytes(path, data)


def generated_mark(path: Path) -> str | None:
    """The mark of a generated archive; None for any other file."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        comment = archive.comment.decode("utf-8", "replace")
    return comment if comment.startswith(_MARK) else None
