"""RAR files, read by rarfile: their entries, and the contents of every file, checked by its CRC.

The standard library has no reader for this format. rarfile reads the directory and uncompressed
files itself; for compressed ones it runs unrar, unar, 7z or bsdtar, one file at a time.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import rarfile

from naslora.core.errors import ArchiveError
from naslora.data.archives.entries import Entry

PROGRAMS = "unrar, unar, 7z (7-Zip) or bsdtar (libarchive-tools)"
_REPACK = "unpack it elsewhere, and pack the same folders as a zip file"
_UNKNOWN_SIZE = 8  # flag of a file header in format 5
_ENTRIES = 400_000  # headers that are read at most; more than any limit on files


def has_rar_program() -> bool:
    """Whether there is a program that reads compressed RAR files."""
    try:
        rarfile.tool_setup(force=True)
    except rarfile.RarCannotExec:
        return False
    return True


@contextmanager
def opened_rar(path: Path) -> Iterator[Iterator[Entry]]:
    """The entries of a RAR file, readable inside the block.

    Raises:
        ArchiveError: encrypted, one part of several, or compressed and there is no program here to
            read it.
        rarfile.Error: it is damaged.
    """
    headers: list[rarfile.RarInfo] = []

    def note(header: rarfile.RarInfo) -> None:
        headers.append(header)
        if len(headers) > _ENTRIES:
            raise rarfile.BadRarFile(f"it has more than {_ENTRIES:,} entries")

    try:
        # Without part_only, rarfile would also open other volumes in the same folder.
        archive = rarfile.RarFile(path, errors="strict", part_only=True, info_callback=note)
    except (OverflowError, ValueError) as error:  # such as sizes of 2^63 bytes and more
        raise rarfile.BadRarFile("it has a damaged header") from error
    with archive:
        if archive.needs_password():
            raise _refused(path, "is encrypted", _REPACK)
        if any(_is_part(header) for header in headers):
            raise _refused(path, "is one part of several", _REPACK)
        if not headers or headers[-1].type != rarfile.RAR_BLOCK_ENDARC:
            raise rarfile.BadRarFile("it is truncated, or has a damaged header")
        infos = archive.infolist()
        if any(i.compress_type != rarfile.RAR_M0 for i in infos) and not has_rar_program():
            raise _refused(
                path,
                "is compressed, and no program that reads it is installed",
                f"install {PROGRAMS}; or {_REPACK}",
            )
        yield (_entry(archive, info) for info in infos)


def _entry(archive: rarfile.RarFile, info: rarfile.RarInfo) -> Entry:
    plain = stat.S_IFMT(info.mode or 0) in (0, stat.S_IFREG, stat.S_IFDIR)
    refusal = None
    if info.is_symlink() or info.file_redir or (info.host_os == rarfile.RAR_OS_UNIX and not plain):
        refusal = "is a link or a device"
    elif getattr(info, "file_flags", 0) & _UNKNOWN_SIZE:
        refusal = "is of unknown size"
    return Entry(info.filename, info.file_size, info.is_dir(), refusal, partial(archive.open, info))


def _is_part(header: rarfile.RarInfo) -> bool:
    if header.type == rarfile.RAR_BLOCK_MAIN:
        return bool(header.flags & rarfile.RAR_MAIN_VOLUME)
    split = rarfile.RAR_FILE_SPLIT_BEFORE | rarfile.RAR_FILE_SPLIT_AFTER
    return header.type == rarfile.RAR_BLOCK_FILE and bool(header.flags & split)


def _refused(path: Path, why: str, remedy: str) -> ArchiveError:
    return ArchiveError(f"{path.name} is a RAR file that {why}", where=path, remedy=remedy)
