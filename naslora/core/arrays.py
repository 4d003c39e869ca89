"""Arrays of one shape in one file, written once and shared by all processes that need them.

The file is read array by array, not memory-mapped: mapped pages count as the process's memory, and
clusters kill jobs that exceed their memory limit. The operating system caches what was read, once
for all processes, and drops it when memory is short.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import weakref
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from naslora.core.errors import DiskError, ManifestError
from naslora.core.files import disk_errors, whole_file
from naslora.core.locking import exclusive

Bytes = NDArray[np.uint8]
_KEY_BYTES = 64
_CHECKSUM = np.dtype("<u4")
_PER_THREAD = 4
_log = logging.getLogger(__name__)


class ArrayFile:
    """Arrays of uint8 in one file, each with a checksum that every process checks once.

    Layout: a key of 64 characters; `count` CRC-32 checksums; `count` arrays of `shape`, uint8.
    Replacing the file does not change the content of one that is open.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file has another key, number of arrays or shape.
    """

    def __init__(
        self, path: Path, key: str, count: int, shape: tuple[int, ...], noun: str = "arrays"
    ):
        self._arguments = path, key, count, shape, noun
        self._path, self._shape, self._noun = path, shape, noun
        self._file = path.open("rb", buffering=0)
        weakref.finalize(self, self._file.close)
        self._reading = threading.Lock()
        self._item = int(np.prod(shape))
        self._start = _KEY_BYTES + count * _CHECKSUM.itemsize
        head = self._file.read(self._start)
        size = os.fstat(self._file.fileno()).st_size
        if head[:_KEY_BYTES] != key.encode() or size != self._start + count * self._item:
            raise ValueError(f"{path} holds something else")
        self._checksums = np.frombuffer(head[_KEY_BYTES:], _CHECKSUM)
        self._checked = np.zeros(count, bool)

    def __getitem__(self, index: int) -> Bytes:
        """One array.

        Raises:
            ManifestError: the file is damaged.
        """
        pixels = np.empty(self._shape, np.uint8)
        with self._reading:
            self._file.seek(self._start + index * self._item)
            read = self._file.readinto(pixels.data)
        if read != self._item or not (
            self._checked[index] or zlib.crc32(pixels.data) == self._checksums[index]
        ):
            raise ManifestError(
                f"this file of {self._noun} is damaged",
                where=self._path,
                remedy="delete it and run the same command again, which writes it again",
            )
        self._checked[index] = True
        return pixels

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._arguments


def array_file(
    path: Path,
    key: str,
    count: int,
    shape: tuple[int, ...],
    make: Callable[[int], Bytes],
    *,
    noun: str,
    without: str,
    threads: int,
) -> ArrayFile | None:
    """Open a file of arrays; write it first if it does not exist.

    If several processes need it, one writes it while the others wait. The result is None, with a
    warning in the log, if the file would take more than half of the free disk space or cannot be
    written.

    Args:
        path: the file.
        key: 64 characters that identify its contents; a file with another key is replaced.
        count: the number of arrays.
        shape: the shape of each array.
        make: returns array i.
        noun: what the arrays are, for messages.
        without: what happens without the file, for messages.
        threads: number of threads that call `make`; 0 for the calling thread only.
    """
    try:
        return ArrayFile(path, key, count, shape, noun)
    except (FileNotFoundError, ValueError):
        pass
    size = count * (int(np.prod(shape)) + _CHECKSUM.itemsize) + _KEY_BYTES
    try:
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(path.parent).free
            if size > free / 2:
                _log.warning(
                    "%s: %s would take %d of %d MB of free disk",
                    without,
                    path,
                    size >> 20,
                    free >> 20,
                )
                return None
            with exclusive(path):
                try:
                    return ArrayFile(path, key, count, shape, noun)
                except (FileNotFoundError, ValueError):
                    _write(path, key, count, make, threads)
        return ArrayFile(path, key, count, shape, noun)
    except DiskError as error:
        _log.warning("%s: %s", without, error)
        return None


def _write(path: Path, key: str, count: int, make: Callable[[int], Bytes], threads: int) -> None:
    checksums = np.zeros(count, _CHECKSUM)
    with whole_file(path) as temporary, temporary.open("wb") as file:
        file.write(key.encode())
        file.write(checksums.tobytes())
        for index, array in enumerate(_arrays(count, make, threads)):
            checksums[index] = zlib.crc32(array.data)
            file.write(array.data)
        file.seek(_KEY_BYTES)
        file.write(checksums.tobytes())


def _arrays(count: int, make: Callable[[int], Bytes], threads: int) -> Iterator[Bytes]:
    if not threads:
        yield from map(make, range(count))
        return
    with ThreadPoolExecutor(threads) as pool:
        at_once = _PER_THREAD * threads
        for start in range(0, count, at_once):  # map() alone would hold all of them in memory
            yield from pool.map(make, range(start, min(start + at_once, count)))
