"""Unpacking zip and tar archives without trusting them."""

from __future__ import annotations

import lzma
import re
import shutil
import stat
import tarfile
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from naslora.download import looks_like_html
from naslora.errors import ArchiveError, DiskError

Format = Literal["zip", "tar"]
_AGAIN = "delete it and get it again"
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError)
# Control characters, and what other systems take for a separator.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\]")


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


LIMITS = Limits()


@dataclass(frozen=True)
class _Entry:
    name: str
    size: int
    is_folder: bool
    refusal: str | None
    open: Callable[[], IO[bytes]]


def archive_format(path: Path, name: Path | None = None) -> Format:
    """Tell from its contents what kind of archive a file is.

    Args:
        path: the file.
        name: what to call it in errors, if not `path`.

    Raises:
        ArchiveError: empty, truncated, a web page, a RAR file, or no archive at all.
    """
    name = name or path
    with path.open("rb") as file:
        head = file.read(1024)
    if not head:
        raise ArchiveError(f"{name.name} is empty (0 bytes)", where=name, remedy=_AGAIN)
    if looks_like_html(head):
        raise ArchiveError(
            f"{name.name} is a web page, not an archive",
            where=name,
            remedy="delete it; open the link in a browser, log in or accept the terms if it asks, "
            "and save the archive itself",
        )
    if head.startswith(b"Rar!"):
        raise ArchiveError(
            f"{name.name} is a RAR file, which cannot be read here",
            where=name,
            remedy="unpack it, and pack the same folders as a zip file of the same name",
        )
    if head.startswith(b"PK"):
        if not zipfile.is_zipfile(path):
            raise ArchiveError(
                f"{name.name} is truncated: the directory at the end of the zip file is missing",
                where=name,
                remedy=_AGAIN,
            )
        return "zip"
    try:
        with tarfile.open(path):
            return "tar"
    except _DAMAGE as error:
        raise ArchiveError(
            f"{name.name} is neither a zip nor a tar file", where=name, remedy=_AGAIN
        ) from error


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `target`, and rename it to `target` when the block ends well.

    A folder that is at `target` already is replaced. When the block raises, the temporary folder
    is removed and `target` is as it was.

    Raises:
        DiskError: a file or folder cannot be written.
    """
    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
        new, old = temporary / "new", temporary / "old"
        new.mkdir()
        yield new
        if target.exists():
            target.rename(old)
        try:
            new.rename(target)
        except BaseException:
            if old.exists():
                old.rename(target)
            raise
    except OSError as error:
        if error.errno is None:
            raise
        raise DiskError(
            f"cannot write {target.name}: {error.strerror}",
            where=target.parent,
            remedy="free some space or choose another folder, then run the same command again",
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def unpack(archive: Path, target: Path, limits: Limits = LIMITS) -> int:
    """Unpack an archive to a folder, whole or not at all; the checksum of every entry is checked.

    Returns:
        The number of files.

    Raises:
        ArchiveError: damaged, encrypted, or unsafe: an entry with an absolute path, `..`, a drive
            letter, a backslash or a control character; a link or device; two entries of one name,
            also up to case and Unicode form; more or larger entries than `limits`.
        DiskError: the disk is full, or the folder cannot be written to.
    """
    kind = archive_format(archive)
    try:
        with _opened(archive, kind) as entries:
            found = _checked(archive, entries, limits)
            total = sum(entry.size for entry in found)
            target.parent.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(target.parent).free
            if total > free:
                raise DiskError(
                    f"{archive.name} unpacks to {total:,} bytes, but only {free:,} are free",
                    where=target.parent,
                    remedy="free some space or choose another folder for the results",
                )
            with whole_folder(target) as folder:
                for entry in found:
                    _write(entry, folder / entry.name)
            return sum(not entry.is_folder for entry in found)
    except (*_DAMAGE, NotImplementedError) as error:
        raise _damaged(archive, error) from error
    except OSError as error:
        # Decompressors report damage as an OSError without a number.
        if error.errno is None:
            raise _damaged(archive, error) from error
        raise DiskError(
            f"cannot unpack {archive.name}: {error.strerror}", where=target.parent
        ) from error


def _damaged(archive: Path, error: Exception) -> ArchiveError:
    return ArchiveError(f"{archive.name} is damaged: {error}", where=archive, remedy=_AGAIN)


def _write(entry: _Entry, path: Path) -> None:
    if entry.is_folder:
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with entry.open() as source, path.open("xb") as file:
        shutil.copyfileobj(source, file, 1 << 20)
    if path.stat().st_size != entry.size:
        raise zipfile.BadZipFile(f"{entry.name} is shorter than the archive's directory says")


@contextmanager
def _opened(archive: Path, kind: Format) -> Iterator[Iterator[_Entry]]:
    if kind == "zip":
        with zipfile.ZipFile(archive) as zip_file:
            yield _zip_entries(zip_file)
    else:
        with tarfile.open(archive) as tar_file:
            yield _tar_entries(tar_file)


def _zip_entries(file: zipfile.ZipFile) -> Iterator[_Entry]:
    for info in file.infolist():
        mode = info.external_attr >> 16
        refusal = None
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            refusal = "is a link or a device"
        elif info.flag_bits & 1:
            refusal = "is encrypted"
        # orig_filename, since zipfile cuts names at a zero byte.
        yield _Entry(
            info.orig_filename,
            info.file_size,
            info.is_dir(),
            refusal,
            partial(file.open, info),
        )


def _tar_entries(file: tarfile.TarFile) -> Iterator[_Entry]:
    for info in file:
        refusal = None if info.isreg() or info.isdir() else "is a link or a device"
        yield _Entry(
            info.name,
            info.size,
            info.isdir(),
            refusal,
            partial(_extracted, file, info),
        )


def _extracted(file: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    content = file.extractfile(info)
    assert content is not None  # only links and devices have none, and those are refused
    return content


def _checked(archive: Path, entries: Iterator[_Entry], limits: Limits) -> list[_Entry]:
    """All entries, if each is safe and they stay within the limits together."""
    found: list[_Entry] = []
    total = 0
    allowed = max(limits.ratio * archive.stat().st_size, limits.ratio_from_bytes)
    kinds: dict[str, bool] = {}
    for entry in entries:
        if refusal := entry.refusal or _refuse_name(entry.name) or _refuse_twice(entry, kinds):
            raise _unsafe(archive, f"its entry {entry.name!r} {refusal}")
        total += entry.size
        if len(found) >= limits.files:
            raise _unsafe(archive, f"it has more than {limits.files:,} entries")
        if total > min(limits.total_bytes, allowed):
            raise _unsafe(archive, f"it unpacks to more than {total:,} bytes")
        found.append(entry)
    return found


def _unsafe(archive: Path, why: str) -> ArchiveError:
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


def _refuse_twice(entry: _Entry, kinds: dict[str, bool]) -> str | None:
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
