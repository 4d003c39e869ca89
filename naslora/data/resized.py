"""Resized images of a split in one file, so that they are decoded once and not in every epoch.

A run of 40 epochs would decode every file 40 times, and so would each run beside it. Reading a
resized image back takes a fraction of a millisecond, decoding and resizing one 10 to 500.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from naslora.core.arrays import ArrayFile, Bytes, array_file

_THREADS = 4


def resized_images(
    path: Path, key: str, count: int, shape: tuple[int, ...], load: Callable[[int], Bytes]
) -> ArrayFile | None:
    """Open the file of resized images; write it first if it does not exist; see `array_file`.

    Args:
        path: of the file.
        key: 64 letters that name its contents.
        count: the number of images.
        shape: of each image with its labels.
        load: returns image i; called from several threads.
    """
    return array_file(
        path,
        key,
        count,
        shape,
        load,
        noun="resized images",
        without="images are decoded in every epoch",
        threads=_THREADS,
    )
