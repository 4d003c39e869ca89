"""Unpacking of untrusted zip, tar and RAR archives."""

from __future__ import annotations

import errno
import lzma
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import rarfile

from naslora.core.download import looks_like_html
from naslora.core.errors import ArchiveError, DiskError
from naslora.core.files import whole_folder
from naslora.data.archives.entries import Entry, Limits, checked, is_from_mac
from naslora.data.archives.rar import opened_rar
from naslora.data.archives.tar import opened_tar

Format = Literal["zip", "tar", "rar"]
_AGAIN = "delete it and get it again"
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    rarfile.Error,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    UnicodeError,
    OverflowError,
    struct.error,
    NotImplementedError,  # an unknown compression method
)
# Errors that are not the disk's: decompressors report damage as an OSError without errno, and the
# directory of a truncated archive may point to before the start of the file, which is EINVAL.
_NO_DISK_ERROR = (None, errno.EINVAL)
LIMITS = Limits()


def archive_format(path: Path, name: Path | None = None) -> Format:
    """Tell from its contents what kind of archive a file is.

    Args:
        path: the file.
        name: what to call it in errors, if not `path`.

    Raises:
        ArchiveError: empty, truncated, a web page, or not an archive.
    """
    name = name or path
    if path.is_dir():
        raise ArchiveError(
            f"{name.name} is a folder, not an archive",
            where=name,
            remedy="pack what is in it into an archive of this name, or delete it and get the "
            "archive again; some browsers and systems unpack archives automatically",
        )
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
        return "rar"
    if head.startswith(b"PK"):
        if not zipfile.is_zipfile(path):
            raise ArchiveError(
                f"{name.name} is truncated: the directory at the end of the zip file is missing",
                where=name,
                remedy=_AGAIN,
            )
        return "zip"
    try:
        with opened_tar(path):
            return "tar"
    except _DAMAGE as error:
        raise ArchiveError(
            f"{name.name} is neither a zip nor a tar nor a RAR file: {error}",
            where=name,
            remedy=_AGAIN,
        ) from error


def file_names(path: Path) -> Iterator[str]:
    """Names of the files in an archive, unchecked.

    Raises:
        ArchiveError: see `archive_format`; or it is damaged.
    """
    kind = archive_format(path)
    try:
        with _opened(path, kind) as entries:
            yield from (entry.name for entry in entries if not entry.is_folder)
    except _DAMAGE as error:
        raise _damaged(path, error) from error


@dataclass(frozen=True)
class Unpacked:
    """Numbers of unpacked files, and of files added by macOS, which are left out."""

    files: int
    from_mac: int


def unpack(archive: Path, target: Path, limits: Limits = LIMITS) -> Unpacked:
    """Unpack an archive to a folder, whole or not at all; the checksum of every entry is checked.

    Files that macOS adds to archives (`__MACOSX`, `._*`, `.DS_Store`) are left out.

    Raises:
        ArchiveError: damaged, encrypted, a RAR file that no program here reads, or unsafe: see
            `naslora.data.archives.entries.checked`.
        DiskError: the disk is full, or the folder cannot be written to.
    """
    kind = archive_format(archive)
    try:
        with whole_folder(target) as folder, _opened(archive, kind) as entries:
            found = checked(archive, entries, limits)
            wanted = [entry for entry in found if not is_from_mac(entry.name)]
            total, free = sum(e.size for e in wanted), shutil.disk_usage(target.parent).free
            if total > free:
                raise DiskError(
                    f"{archive.name} unpacks to {total:,} bytes, but only {free:,} are free",
                    where=target.parent,
                    remedy="free some space or choose another folder for the results",
                )
            for entry in wanted:
                _write(entry, folder / entry.name)
        files = sum(not entry.is_folder for entry in wanted)
        return Unpacked(files, sum(not entry.is_folder for entry in found) - files)
    except _DAMAGE as error:
        raise _damaged(archive, error) from error
    except OSError as error:
        if error.errno in _NO_DISK_ERROR:
            raise _damaged(archive, error) from error
        raise DiskError(
            f"cannot unpack {archive.name}: {error.strerror}", where=target.parent
        ) from error


def _damaged(archive: Path, error: Exception) -> ArchiveError:
    return ArchiveError(f"{archive.name} is damaged: {error}", where=archive, remedy=_AGAIN)


def _write(entry: Entry, path: Path) -> None:
    if entry.is_folder:
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with entry.open() as source, path.open("xb") as file:
        shutil.copyfileobj(source, file, 1 << 20)
    if path.stat().st_size != entry.size:
        raise zipfile.BadZipFile(f"{entry.name} is shorter than the archive's directory says")


@contextmanager
def _opened(archive: Path, kind: Format) -> Iterator[Iterator[Entry]]:
    if kind == "zip":
        with zipfile.ZipFile(archive) as zip_file:
            yield _zip_entries(zip_file)
    elif kind == "tar":
        with opened_tar(archive) as entries:
            yield entries
    else:
        with opened_rar(archive) as entries:
            yield entries


def _zip_entries(file: zipfile.ZipFile) -> Iterator[Entry]:
    for info in file.infolist():
        mode = info.external_attr >> 16
        refusal = None
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            refusal = "is a link or a device"
        elif info.flag_bits & 1:
            refusal = "is encrypted"
        # orig_filename, since zipfile cuts names at a zero byte.
        is_folder = info.filename.endswith("/")
        opened = partial(file.open, info)
        yield Entry(info.orig_filename, info.file_size, is_folder, refusal, opened)
