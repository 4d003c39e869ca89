"""Unpacking RAR files with whatever program there is, without trusting file or program.

The format has no free packer and no reader in Python's library. Any of `unrar`, `7z`, `bsdtar` and
`unar` unpacks it. What is in it is read here and checked before any of them runs; what then lies
in the folder is compared with it: the same files, with the same checksums, and no links.
"""

from __future__ import annotations

import os
import resource
import shutil
import stat
import subprocess
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from naslora.core.errors import ArchiveError
from naslora.data.archives.entries import Entry, unsafe
from naslora.data.archives.rar_list import RarEntry, RarError, list_rar

_SECONDS = 3600.0
# A program and its arguments to unpack {archive} to {folder}, in the order of preference.
_PROGRAMS = {
    "unrar": ("x", "-c-", "-p-", "-o-", "-idq", "--", "{archive}", "{folder}/"),
    "7zz": ("x", "-y", "-p", "-bd", "-o{folder}", "--", "{archive}"),
    "7z": ("x", "-y", "-p", "-bd", "-o{folder}", "--", "{archive}"),
    "bsdtar": ("-x", "--no-same-owner", "-f", "{archive}", "-C", "{folder}"),
    "unar": ("-quiet", "-no-directory", "-output-directory", "{folder}", "{archive}"),
}
_REPACK = "unpack it elsewhere, and pack the same folders as a zip file"


class _ProgramError(Exception):
    """A program cannot unpack the file; another one may."""


def rar_programs() -> list[str]:
    """The programs on the PATH that unpack RAR files; empty if there is none."""
    return [name for name in _PROGRAMS if shutil.which(name)]


def unpack_rar(
    archive: Path, folder: Path, check: Callable[[Iterable[Entry]], list[Entry]]
) -> list[Entry]:
    """Unpack a RAR file to an empty folder.

    Args:
        archive: the RAR file.
        folder: an empty folder.
        check: is given the entries before anything is unpacked, and raises to refuse them.

    Returns:
        The entries.

    Raises:
        ArchiveError: there is no program to unpack it, none can, it is damaged or encrypted, or
            what was unpacked is not what is listed.
    """
    try:
        listed = list(list_rar(archive))
    except RarError as error:
        raise ArchiveError(
            f"{archive.name} is a RAR file that cannot be read: it {error}",
            where=archive,
            remedy=f"delete it and get it again; or {_REPACK}",
        ) from error
    found = check(listed)
    programs = rar_programs()
    if not programs:
        raise ArchiveError(
            f"{archive.name} is a RAR file, and no program that unpacks it is installed",
            where=archive,
            remedy="install one of unrar, 7z (7-Zip), bsdtar (libarchive-tools) and unar; or "
            f"{_REPACK}",
        )
    failures = []
    for program in programs:
        try:
            _run(program, archive, folder, max((entry.size for entry in found), default=0))
            _compare(archive, folder, listed)
            return found
        except _ProgramError as failure:
            failures.append(f"{program} {failure}")
            _empty(folder)
    raise ArchiveError(
        f"{archive.name} is a RAR file that cannot be unpacked: {'; '.join(failures)}",
        where=archive,
        remedy="delete it and get it again; if it is whole, install another of unrar, 7z, bsdtar "
        f"and unar; or {_REPACK}",
    )


def _run(program: str, archive: Path, folder: Path, largest: int) -> None:
    """Let a program unpack without a terminal; no file may become larger than `largest` bytes."""
    places = {"archive": str(archive.absolute()), "folder": str(folder.absolute())}
    try:
        done = subprocess.run(
            [program, *(word.format(**places) for word in _PROGRAMS[program])],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            timeout=_SECONDS,
            start_new_session=True,  # no terminal to ask for a password on
            preexec_fn=partial(resource.setrlimit, resource.RLIMIT_FSIZE, (largest, largest)),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _ProgramError(f"fails: {error}") from error
    if done.returncode:
        told = (done.stderr.strip() or done.stdout.strip()).decode("utf-8", "replace")
        last = told.splitlines()[-1].strip() if told else "without a word"
        raise _ProgramError(f"fails with code {done.returncode}: {last[:200]}")


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _compare(archive: Path, folder: Path, entries: list[RarEntry]) -> None:
    """Raise unless the folder holds the listed files, and nothing else but folders."""
    listed = {entry.name.removeprefix("./"): entry for entry in entries if not entry.is_folder}
    found = set()
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode):
                path.chmod(0o755)
                continue
            if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
                raise unsafe(archive, f"{name!r} comes out of it as a link or a device")
            path.chmod(0o644)
            inside = path.relative_to(folder).as_posix()
            if inside not in listed:
                raise unsafe(archive, f"{inside!r} comes out of it, which it does not list")
            found.add(inside)
            entry = listed[inside]
            if status.st_size != entry.size or entry.crc not in (None, _crc(path)):
                raise _ProgramError(f"unpacks {inside!r} with other contents: size or CRC differ")
    if missing := sorted(listed.keys() - found):
        raise _ProgramError(f"leaves {missing[0]!r} out")


def _crc(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            crc = zlib.crc32(chunk, crc)
    return crc
