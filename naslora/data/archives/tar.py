"""Tar archives, plain and compressed, with a bound on the memory that headers take."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, cast

from naslora.data.archives.entries import Entry

# tarfile reads long names and other header records in one piece, whatever size they claim.
# Contents are read in pieces of at most 1 MiB.
_LONGEST_READ = 1 << 20
_MAGIC: dict[bytes, Callable[[Path], object]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x5d\x00\x00": lzma.open,
}


@contextmanager
def opened_tar(path: Path) -> Iterator[Iterator[Entry]]:
    """The entries of a tar archive, readable inside the block.

    Raises:
        tarfile.TarError: it is not a tar archive, or is damaged.
        OSError, EOFError, zlib.error, lzma.LZMAError: its compression is damaged.
    """
    with path.open("rb") as file:
        head = file.read(8)
    opener = next((o for magic, o in _MAGIC.items() if head.startswith(magic)), None)
    stream = cast(IO[bytes], opener(path) if opener else path.open("rb"))
    with stream, tarfile.open(fileobj=_Bounded(stream), mode="r:") as archive:  # type: ignore[call-overload]
        yield _entries(archive)


def _entries(archive: tarfile.TarFile) -> Iterator[Entry]:
    for info in archive:
        header = sum(len(key) + len(value) for key, value in info.pax_headers.items())
        refusal = None
        if not (info.isreg() or info.isdir()):
            refusal = "is a link or a device"
        yield Entry(
            info.name, info.size, info.isdir(), refusal, partial(_content, archive, info), header
        )


def _content(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    content = archive.extractfile(tarfile.data_filter(info, "."))
    assert content is not None  # only links and devices have none, and those are refused
    return content


class _Bounded:
    """A file that refuses to be read in large pieces."""

    def __init__(self, file: IO[bytes]):
        self._file = file

    def read(self, size: int) -> bytes:
        if size > _LONGEST_READ:
            raise tarfile.ReadError(f"an entry has a header of {size:,} bytes")
        return self._file.read(size)

    def seek(self, place: int, whence: int = 0) -> int:
        return self._file.seek(place, whence)

    def tell(self) -> int:
        return self._file.tell()
