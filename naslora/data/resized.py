"""Resized images of a split in one file, so that they are decoded once and not in every epoch.

Without it, a run of 40 epochs decodes every file 40 times. Reading a resized image back takes less
than a millisecond; decoding and resizing it takes 10 to 500 ms.
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
        path: the file.
        key: 64 characters that identify its contents.
        count: the number of images.
        shape: the shape of an image with its labels.
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
