"""Resized images of a split in one file, so that they are decoded once and not in every epoch.

A run of 40 epochs would decode every file 40 times, and so would each run beside it. Reading a
resized image back takes a fraction of a millisecond, decoding and resizing one 10 to 500. The
file is read in pieces and not mapped to memory: pages of a map count as the process's own
memory, and a cluster ends jobs that have too much of it. The system keeps what was read in its
page cache, once for all processes, and drops it when memory is short.
"""

from __future__ import annotations

import logging
import os
import shutil
import weakref
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from naslora.errors import DiskError, ManifestError
from naslora.files import append_alone, disk_errors, whole_file

Pixels = NDArray[np.uint8]
_KEY_BYTES = 64
_CHECKSUM = np.dtype("<u4")
_THREADS = 4
_AT_ONCE = 4 * _THREADS
_log = logging.getLogger(__name__)


class ResizedImages:
    """Images and labels in one file, each with a checksum that every process checks once.

    The file: a key of 64 letters; `count` CRC-32 checksums; `count` arrays of `shape`, uint8.
    Once open, it stays the same, whatever replaces it under its name.

    Raises:
        FileNotFoundError: there is no file.
        ValueError: it is of another key, number or shape.
    """

    def __init__(self, path: Path, key: str, count: int, shape: tuple[int, ...]):
        self._arguments = path, key, count, shape
        self._path, self._shape = path, shape
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)
        self._item = int(np.prod(shape))
        self._start = _KEY_BYTES + count * _CHECKSUM.itemsize
        head = os.pread(self._file, self._start, 0)
        size = os.fstat(self._file).st_size
        if head[:_KEY_BYTES] != key.encode() or size != self._start + count * self._item:
            raise ValueError(f"{path} holds something else")
        self._checksums = np.frombuffer(head[_KEY_BYTES:], _CHECKSUM)
        self._checked = np.zeros(count, bool)

    def __getitem__(self, index: int) -> Pixels:
        """One image with its labels.

        Raises:
            ManifestError: the file is damaged.
        """
        pixels = np.empty(self._shape, np.uint8)
        read = os.preadv(self._file, [pixels.data], self._start + index * self._item)
        if read != self._item or not (
            self._checked[index] or zlib.crc32(pixels.data) == self._checksums[index]
        ):
            raise ManifestError(
                "this file of resized images is damaged",
                where=self._path,
                remedy="delete it and run the same command again, which writes it anew",
            )
        self._checked[index] = True
        return pixels

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._arguments


def resized_images(
    path: Path, key: str, count: int, shape: tuple[int, ...], load: Callable[[int], Pixels]
) -> ResizedImages | None:
    """Open the file of resized images, and write it first if it is not there.

    Of several processes that need it, one writes it while the others wait. None, with a word in
    the log, where it would take more than half of the free disk, or cannot be written.

    Args:
        path: where it belongs.
        key: 64 letters that name its contents; a file of another key is replaced.
        count: the number of images.
        shape: of each image with its labels.
        load: gives image i; called from several threads.
    """
    try:
        return ResizedImages(path, key, count, shape)
    except (FileNotFoundError, ValueError):
        pass
    size = count * (int(np.prod(shape)) + _CHECKSUM.itemsize) + _KEY_BYTES
    try:
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(path.parent).free
            if size > free / 2:
                _log.warning(
                    "images are decoded in every epoch: %s would take %d of %d MB of free disk",
                    path,
                    size >> 20,
                    free >> 20,
                )
                return None
            lock = path.with_suffix(".lock")
            with append_alone(lock):
                try:
                    return ResizedImages(path, key, count, shape)
                except (FileNotFoundError, ValueError):
                    _log.info("writing %d resized images, %d MB: %s", count, size >> 20, path)
                    _write(path, key, count, load)
                finally:
                    lock.unlink(missing_ok=True)
        return ResizedImages(path, key, count, shape)
    except DiskError as error:
        _log.warning("images are decoded in every epoch: %s", error)
        return None


def _write(path: Path, key: str, count: int, load: Callable[[int], Pixels]) -> None:
    checksums = np.zeros(count, _CHECKSUM)
    with (
        whole_file(path) as temporary,
        temporary.open("wb") as file,
        ThreadPoolExecutor(_THREADS) as pool,
    ):
        file.write(key.encode())
        file.write(checksums.tobytes())
        for start in range(0, count, _AT_ONCE):  # map() alone would hold all of them in memory
            indices = range(start, min(start + _AT_ONCE, count))
            for index, pixels in zip(indices, pool.map(load, indices), strict=True):
                checksums[index] = zlib.crc32(pixels.data)
                file.write(pixels.data)
        file.seek(_KEY_BYTES)
        file.write(checksums.tobytes())
