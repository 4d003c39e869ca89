"""What a RAR file says is in it: names, kinds, sizes and checksums, of formats 4 and 5.

Only headers are read; what is packed is for other programs to unpack. Layout of the headers: the
technical note of RAR 5.0 on rarlab.com, and technote.txt of RAR 4.
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from naslora.data.archives.entries import Entry

_SIGNATURES = {4: b"Rar!\x1a\x07\x00", 5: b"Rar!\x1a\x07\x01\x00"}
_LONGEST_HEADER = 1 << 21
_LINK = "is a link or a device"
_ENCRYPTED = "is encrypted"


class RarError(Exception):
    """A RAR file that cannot be listed; the message says why, as a clause after its name."""


@dataclass(frozen=True)
class RarEntry(Entry):
    """An entry with the CRC-32 of its contents; None where the file has another kind of hash."""

    crc: int | None = None


def list_rar(path: Path) -> Iterator[RarEntry]:
    """The files and folders in a RAR file.

    Raises:
        RarError: it is damaged, truncated, encrypted as a whole, or one part of several.
    """
    with path.open("rb") as file:
        head = file.read(8)
        try:
            if head == _SIGNATURES[5]:
                yield from _list_5(file)
            elif head.startswith(_SIGNATURES[4]):
                file.seek(7)
                yield from _list_4(file)
            else:
                raise RarError("is of an unknown version")
        except (struct.error, IndexError) as error:
            raise RarError("has a damaged header") from error


def _list_5(file: BinaryIO) -> Iterator[RarEntry]:
    while True:
        (crc,) = struct.unpack("<I", _read(file, 4))
        size_field = _read(file, 1)
        while size_field[-1] & 128 and len(size_field) < 3:
            size_field += _read(file, 1)
        size = _Fields(size_field).number()
        if size > _LONGEST_HEADER:
            raise RarError("has a damaged header")
        header = _read(file, size)
        if zlib.crc32(size_field + header) != crc:
            raise RarError("has a damaged header")
        fields = _Fields(header)
        kind, flags = fields.number(), fields.number()
        extra_size = fields.number() if flags & 1 else 0
        data_size = fields.number() if flags & 2 else 0
        if kind == 4:
            raise RarError(_ENCRYPTED)
        if (kind == 1 and fields.number() & 1) or flags & 0x18:
            raise RarError("is one part of several")
        if kind == 5:
            return
        if kind == 2:
            yield _file_5(fields, header[len(header) - extra_size :] if extra_size else b"")
        _skip(file, data_size)


def _file_5(fields: _Fields, extra: bytes) -> RarEntry:
    flags, size, mode = fields.number(), fields.number(), fields.number()
    if flags & 8:
        raise RarError("has a file of unknown size")
    fields.bytes(4 if flags & 2 else 0)  # time
    crc = int.from_bytes(fields.bytes(4), "little") if flags & 4 else None
    fields.number()  # method
    unix = fields.number() == 1
    name = fields.bytes(fields.number()).decode("utf-8", "replace")
    refusal = _refuse_mode(mode) if unix else None
    records = _Fields(extra)
    while records.left:
        record = _Fields(records.bytes(records.number()))
        refusal = {1: _ENCRYPTED, 5: _LINK}.get(record.number(), refusal)
    return RarEntry(name, size, bool(flags & 1), refusal, crc=crc)


def _list_4(file: BinaryIO) -> Iterator[RarEntry]:
    while True:
        start = _read(file, 7)
        crc, kind, flags, size = struct.unpack("<HBHH", start)
        rest = _read(file, max(size - 7, 0))
        # Old comments and signatures are summed up in other ways.
        if kind in (0x73, 0x74, 0x7B) and zlib.crc32(start[2:] + rest) & 0xFFFF != crc:
            raise RarError("has a damaged header")
        data_size = struct.unpack_from("<I", rest)[0] if flags & 0x8000 else 0
        if kind == 0x73 and flags & 0x80:
            raise RarError(_ENCRYPTED)
        if (kind == 0x73 and flags & 1) or (kind == 0x74 and flags & 3):
            raise RarError("is one part of several")
        if kind == 0x7B:
            return
        if kind in (0x74, 0x7A):
            entry, data_size = _file_4(rest, flags)
            if kind == 0x74:
                yield entry
        _skip(file, data_size)


def _file_4(rest: bytes, flags: int) -> tuple[RarEntry, int]:
    """The entry and the size of what is packed."""
    packed, size, system, crc, _, _, _, length, mode = struct.unpack_from("<IIBIIBBHI", rest)
    at = 25
    if flags & 0x100:
        high_packed, high = struct.unpack_from("<II", rest, at)
        packed, size, at = packed + (high_packed << 32), size + (high << 32), at + 8
    name = rest[at : at + length]
    if len(name) < length or b"\x00" in name or not name.isascii():
        raise RarError("has names that are not plain ASCII, in the old format 4")
    path = name.decode("ascii")
    refusal = _refuse_mode(mode) if system == 3 else None
    # Windows separates folders by backslashes, which no name there can have.
    path = path if system == 3 else path.replace("\\", "/")
    refusal = _ENCRYPTED if flags & 4 else refusal
    return RarEntry(path, size, flags & 0xE0 == 0xE0, refusal, crc=crc), packed


def _refuse_mode(mode: int) -> str | None:
    plain = stat.S_IFMT(mode) in (0, stat.S_IFREG, stat.S_IFDIR)
    return None if plain else _LINK


class _Fields:
    """Reads the fields of a header one after the other."""

    def __init__(self, data: bytes):
        self._data, self._at = data, 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def number(self) -> int:
        """A number in groups of seven bits, the lowest first."""
        value = shift = 0
        while True:
            digit = self._data[self._at]
            self._at += 1
            value |= (digit & 127) << shift
            shift += 7
            if not digit & 128 or shift > 63:
                return value

    def bytes(self, count: int) -> bytes:
        if count > self.left:
            raise RarError("has a damaged header")
        self._at += count
        return self._data[self._at - count : self._at]


def _read(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise RarError("is truncated")
    return data


def _skip(file: BinaryIO, count: int) -> None:
    """Pass over what is packed; its last byte must be there."""
    if count:
        file.seek(count - 1, 1)
        _read(file, 1)
