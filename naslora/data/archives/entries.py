"""What archives list, and whether it may be unpacked: names, kinds, sizes, numbers."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from naslora.core.errors import ArchiveError

# Control characters, what other systems take for a separator, and bytes that are no text (lone
# surrogates), which no report could name.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")


@dataclass(frozen=True)
class Limits:
    """Bounds on what an archive may unpack to.

    The largest benchmark unpacks to about 20 GB in 31,000 files. Images hardly shrink in an
    archive: whole sets reach a ratio of 2, raw label maps alone some hundred.
    """

    total_bytes: int = 64 << 30
    files: int = 200_000
    ratio: float = 100.0
    # Small archives cannot do harm, whatever their ratio.
    ratio_from_bytes: int = 64 << 20


@dataclass(frozen=True)
class Entry:
    """A file or folder in an archive.

    Attributes:
        size: bytes, unpacked.
        refusal: why it must not be unpacked, as a clause after its name.
        open: gives its contents; None where a program unpacks the archive as a whole.
    """

    name: str
    size: int
    is_folder: bool
    refusal: str | None = None
    open: Callable[[], IO[bytes]] | None = None


def checked(archive: Path, entries: Iterable[Entry], limits: Limits) -> list[Entry]:
    """Every entry of an archive, if all are safe.

    Raises:
        ArchiveError: an entry with an absolute path, `..`, a drive letter, a backslash or a control
            character; a link or device; two entries of one name, also up to case and Unicode form;
            more or larger entries than `limits`.
    """
    found: list[Entry] = []
    total = 0
    allowed = max(limits.ratio * archive.stat().st_size, limits.ratio_from_bytes)
    kinds: dict[str, bool] = {}
    for entry in entries:
        if refusal := entry.refusal or _refuse_name(entry.name) or _refuse_twice(entry, kinds):
            raise unsafe(archive, f"its entry {entry.name!r} {refusal}")
        total += entry.size
        if len(found) >= limits.files:
            raise unsafe(archive, f"it has more than {limits.files:,} entries")
        if total > min(limits.total_bytes, allowed):
            raise unsafe(archive, f"it unpacks to more than {total:,} bytes")
        found.append(entry)
    return found


def unsafe(archive: Path, why: str) -> ArchiveError:
    """The error for an archive that must not be unpacked."""
    return ArchiveError(
        f"{archive.name} is not safe to unpack: {why}",
        where=archive,
        remedy="no official archive is like this; delete it and get it from the official page",
    )


def _refuse_name(name: str) -> str | None:
    path = name.removesuffix("/")
    parts = path.split("/")
    if PurePosixPath(path).is_absolute() or re.match(r"^[A-Za-z]:", path):
        return "has an absolute path"
    if ".." in re.split(r"[/\\]", path):
        return "leads out of the folder"
    if "" in parts or "." in parts[1:] or _UNSAFE.search(path):
        return "has a name that is not portable"
    if any(len(part.encode("utf-8", "surrogatepass")) > 255 for part in parts):
        return "has a name of more than 255 bytes"
    return None


def _refuse_twice(entry: Entry, kinds: dict[str, bool]) -> str | None:
    """Remember the entry; a reason if it clashes with an earlier one on any file system."""
    path = unicodedata.normalize("NFC", str(PurePosixPath(entry.name))).casefold()
    parents = path.split("/")[:-1]
    for depth in range(1, len(parents) + 1):
        if not kinds.setdefault("/".join(parents[:depth]), True):
            return "lies inside another entry that is a file"
    if path in kinds and not (entry.is_folder and kinds[path]):
        return "occurs twice, at least up to upper and lower case"
    kinds[path] = entry.is_folder
    return None
