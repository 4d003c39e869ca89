"""Files that are whole or absent: write under a temporary name, flush to disk, then rename."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from naslora.core.errors import DiskError

_CHUNK = 1 << 18
_TEMPORARY = re.compile(r"\.(?P<stem>.+)-[a-z0-9_]{8}(?P<suffix>\.[^.]+)?")
_IDLE_S = 24 * 3600
_DISK_ERRORS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EIO,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.ENAMETOOLONG,
}


def digests(path: Path, *algorithms: str) -> list[str]:
    """A file's digests by these algorithms of hashlib, in hexadecimal; the file is read once."""
    found = [hashlib.new(name, usedforsecurity=False) for name in algorithms]
    buffer = memoryview(bytearray(_CHUNK))  # reused: a new one for each chunk is slower
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(buffer):
            for digest in found:
                digest.update(buffer[:size])
    return [digest.hexdigest() for digest in found]


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    return digests(path, "sha256")[0]


def canonical_json(value: Any) -> str:
    """The canonical JSON text of a value: sorted keys, no spaces, no NaN.

    Raises:
        ValueError: the value holds NaN or infinity.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def fingerprint(value: Any) -> str:
    """SHA-256 of a value's canonical JSON; equal for equal values on every machine."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Convert the block's write errors (`OSError`) into `DiskError`.

    Raises:
        DiskError: the disk is full, or the folder cannot be written to.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> DiskError:
    return DiskError(
        f"cannot write {path.name}: {_reason(error)}",
        where=path.parent,
        remedy="free some space or choose another folder, then run the same command again",
    )


def _reason(error: OSError) -> str | None:
    return os.strerror(error.errno) if error.errno else error.strerror


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and rename it to `path` when the block succeeds.

    The temporary name keeps the suffix of `path`, for writers that choose the format by it. If the
    block raises, the temporary file is removed and `path` is unchanged. What a killed process
    leaves behind is removed by a later call.

    Raises:
        DiskError: the disk is full, or the folder cannot be written to.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent, path)
        descriptor, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{_short(path.stem)}-", suffix=path.suffix
        )
        os.close(descriptor)
        temporary = Path(name)
        mode = _usual_mode(temporary)
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.chmod(mode)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path, of: Path | None = None, *, alone: bool = False) -> None:
    """Remove temporary files and folders that killed processes left behind.

    Args:
        folder: the folder that contains them.
        of: the file or folder that they were to become; by default any.
        alone: whether no other process writes there, so that all can be removed; otherwise, only
            those that have not changed for a day are.
    """
    for path in folder.iterdir():
        match = _TEMPORARY.fullmatch(path.name)
        if match is None or (
            of and (_short(of.stem), of.suffix) != (match["stem"], match["suffix"] or "")
        ):
            continue
        if alone or _abandoned(path):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _usual_mode(temporary: Path) -> int:
    """Create a temporary file again with the permissions of a new file, and return them.

    The umask cannot be read without changing it, for all threads of the process.
    """
    temporary.unlink()
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return stat.S_IMODE(temporary.stat().st_mode)


def _short(stem: str) -> str:
    """A name cut to 200 bytes, to leave room for the prefix and suffix of a temporary name."""
    return stem.encode()[:200].decode(errors="ignore")


def _abandoned(path: Path) -> bool:
    now = time.time()
    try:
        return all(now - file.lstat().st_mtime > _IDLE_S for file in (path, *path.rglob("*")))
    except OSError:  # another process is at work on it
        return False


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON with sorted keys and a final newline, whole or not at all.

    Raises:
        ValueError: the value holds NaN or infinity.
        DiskError: the file cannot be written.
    """
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"
    write_text(path, text)


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `target`, and rename it to `target` when the block succeeds.

    An existing `target` is replaced. If the block raises, the temporary folder is removed and
    `target` is unchanged. What a killed process leaves behind is removed by a later call.

    Raises:
        DiskError: the folder cannot be written; or the block cannot read or write a file elsewhere,
            which the message then names.
    """
    temporary = None
    try:
        with _all_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(target.parent, target)
            temporary = Path(
                tempfile.mkdtemp(
                    dir=target.parent, prefix=f".{_short(target.stem)}-", suffix=target.suffix
                )
            )
            new, old = temporary / "new", temporary / "old"
            new.mkdir()
        with disk_errors(target), _errors_elsewhere(temporary):
            yield new
        with _all_errors(target):
            if target.exists():
                target.rename(old)
            try:
                new.rename(target)
            except BaseException:
                if old.exists():
                    old.rename(target)
                raise
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _all_errors(path: Path) -> Iterator[None]:
    """Convert every error of the system into a `DiskError` about `path`."""
    try:
        yield
    except OSError as error:
        raise _cannot_write(path, error) from error


@contextmanager
def _errors_elsewhere(folder: Path) -> Iterator[None]:
    """Convert errors of the system into a `DiskError` if they name only files outside a folder."""
    try:
        yield
    except OSError as error:
        names = (error.filename, error.filename2)
        paths = [Path(os.fsdecode(n)) for n in names if isinstance(n, str | bytes | os.PathLike)]
        inside = any(path.absolute().is_relative_to(folder.absolute()) for path in paths)
        if not paths or inside or error.errno in (None, errno.EINVAL):
            raise
        raise DiskError(
            f"cannot use {paths[0].name}: {_reason(error)}",
            where=paths[0],
            remedy="see whether the file is there and its permissions are right, then run the same "
            "command again",
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8, whole or not at all.

    Raises:
        DiskError: the file cannot be written.
    """
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes, whole or not at all.

    Raises:
        DiskError: the file cannot be written.
    """
    with whole_file(path) as temporary:
        temporary.write_bytes(data)


def gigabytes(count: float) -> str:
    """A number of bytes as text, in kB, MB or GB."""
    if count < 1e6:
        return f"{count / 1e3:.0f} kB"
    return f"{count / 1e6:.0f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"
