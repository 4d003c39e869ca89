"""Checks of the entries of an archive before it is unpacked: names, kinds, sizes, count."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from naslora.core.errors import ArchiveError

# Control characters, the path separator of Windows, and bytes that are not text (lone surrogates)
# and cannot be written to a report.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")
_SHOWN = 80  # characters of a name in a message


@dataclass(frozen=True)
class Limits:
    """Bounds on what an archive may unpack to.

    The largest benchmark unpacks to about 20 GB in 31,000 files, with paths of at most 100
    characters and five folders. Images hardly compress: a whole data set unpacks to at most twice
    the size of its archive. An archive of nothing but uncompressed label maps, such as BMP files,
    can unpack to several hundred times its size, which is more than `ratio`; PNG files cannot.
    """

    total_bytes: int = 64 << 30
    files: int = 200_000
    ratio: float = 100.0
    # Small archives do no harm, whatever their compression ratio.
    ratio_from_bytes: int = 64 << 20
    path_bytes: int = 1000
    levels: int = 40


@dataclass(frozen=True)
class Entry:
    """A file or folder in an archive.

    Attributes:
        size: bytes, unpacked.
        refusal: why it must not be unpacked, as a clause after its name.
        open: opens its contents; to be called inside the block that opened the archive.
        header: bytes of metadata beyond its name.
    """

    name: str
    size: int
    is_folder: bool
    refusal: str | None
    open: Callable[[], IO[bytes]]
    header: int = 0


def checked(archive: Path, entries: Iterable[Entry], limits: Limits) -> list[Entry]:
    """Every entry of an archive, if all are safe.

    Raises:
        ArchiveError: an entry with an absolute path, `..`, a drive letter, a backslash or a control
            character; a link or device; two entries of one name, ignoring case and Unicode form;
            more, larger or more deeply nested entries than `limits`.
    """
    found: list[Entry] = []
    total = 0
    allowed = max(limits.ratio * archive.stat().st_size, limits.ratio_from_bytes)
    kinds: dict[str, bool] = {}
    for entry in entries:
        refusal = entry.refusal or _refuse_name(entry.name, limits) or _refuse_twice(entry, kinds)
        if refusal:
            name = entry.name[:_SHOWN] + ("…" if len(entry.name) > _SHOWN else "")
            raise unsafe(archive, f"its entry {name!r} {refusal}")
        total += entry.size + entry.header
        if len(found) >= limits.files:
            raise unsafe(archive, f"it has more than {limits.files:,} entries")
        if total > min(limits.total_bytes, allowed):
            raise unsafe(archive, f"it unpacks to more than {total:,} bytes")
        found.append(entry)
    return found


def is_from_mac(name: str) -> bool:
    """Whether an entry is one of the metadata files that macOS adds to archives."""
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or any(p.startswith("._") or p == ".DS_Store" for p in parts)


def unsafe(archive: Path, why: str) -> ArchiveError:
    """The error for an archive that must not be unpacked."""
    return ArchiveError(
        f"{archive.name} is not safe to unpack: {why}",
        where=archive,
        remedy="no official archive is like this; delete it and get it from the official page",
    )


def _refuse_name(name: str, limits: Limits) -> str | None:
    # Lengths are checked first, since time and memory of the other checks grow with them.
    if len(name) > limits.path_bytes or len(_encoded(name)) > limits.path_bytes:
        return f"has a path of more than {limits.path_bytes:,} bytes"
    if name.count("/") > limits.levels:
        return f"lies more than {limits.levels} folders deep"
    path = name.removesuffix("/")
    parts = path.split("/")
    if PurePosixPath(path).is_absolute() or re.match(r"^[A-Za-z]:", path):
        return "has an absolute path"
    if ".." in re.split(r"[/\\]", path):
        return "leads out of the folder"
    if not path:
        return "has no name"
    if "" in parts or "." in parts[1:] or _UNSAFE.search(path):
        return "has a name that is not portable"
    if any(len(_encoded(part)) > 255 for part in parts):
        return "has a name of more than 255 bytes"
    return None


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")


def _refuse_twice(entry: Entry, kinds: dict[str, bool]) -> str | None:
    """Record an entry; return a reason if it collides with an earlier one on some file system."""
    path = unicodedata.normalize("NFC", str(PurePosixPath(entry.name))).casefold()
    for parent in _parents(path):
        if not kinds.setdefault(parent, True):
            return "lies inside another entry that is a file"
    if path in kinds and not (entry.is_folder and kinds[path]):
        return "occurs twice, if case is ignored"
    kinds[path] = entry.is_folder
    return None


def _parents(path: str) -> Iterator[str]:
    at = path.find("/")
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)
