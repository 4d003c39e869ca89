"""RAR files, written here byte by byte: stored, or compressed and read by a fake program."""

from __future__ import annotations

import shutil
import stat
import struct
import zlib
from pathlib import Path

import pytest

from naslora.core.errors import ArchiveError
from naslora.data.archives.entries import Limits
from naslora.data.archives.rar import has_rar_program
from naslora.data.archives.unpack import file_names, unpack

FILES = {"Original/1.tif": b"image", "Ground Truth/1.tif": b"mask" * 100, "empty": b""}
LINK = ("link", "/etc/passwd")
COMPRESSED = 3  # a method; 0 is stored


def vint(value: int) -> bytes:
    digits = []
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])


def block_5(
    kind: int,
    fields: bytes,
    data: bytes = b"",
    extra: bytes = b"",
    flags: int = 0,
    data_size: int | None = None,
) -> bytes:
    """A header of format 5 and its data: CRC-32, size, type, flags, sizes, fields, extra."""
    flags |= (1 if extra else 0) | (2 if data or kind == 2 else 0)
    body = vint(kind) + vint(flags)
    body += vint(len(extra)) if extra else b""
    body += vint(len(data) if data_size is None else data_size) if flags & 2 else b""
    body = vint(len(body + fields + extra)) + body + fields + extra
    return struct.pack("<I", zlib.crc32(body)) + body + data


def file_5(name: str, data: bytes, mode: int = 0o100644, record: bytes = b"", **other) -> bytes:
    is_folder = stat.S_ISDIR(mode)
    crc = struct.pack("<I", zlib.crc32(other.get("crc_of", data)))
    fields = vint(1 if is_folder else 4) + vint(other.get("size", len(data))) + vint(mode)
    method = vint(other.get("method", 0) << 7)
    fields += (b"" if is_folder else crc) + method + vint(1) + vint(len(name.encode()))
    extra = vint(len(record)) + record if record else b""
    return block_5(2, fields + name.encode(), data, extra, other.get("flags", 0))


def packed(files: dict[str, bytes], *more: bytes, volume: bool = False) -> bytes:
    """A RAR file of format 5 with stored files, and more blocks before its end."""
    blocks = [file_5(name, data) for name, data in files.items()]
    main = block_5(1, vint(int(volume)))
    return b"".join([b"Rar!\x1a\x07\x01\x00", main, *blocks, *more, block_5(5, vint(0))])


def linked(name: str, target: str) -> bytes:
    path = target.encode()
    record = vint(5) + vint(1) + vint(0) + vint(len(path)) + path
    return file_5(name, b"", 0o120777, record)


def block_4(kind: int, flags: int, fields: bytes, data: bytes = b"") -> bytes:
    """A header of format 4 and its data: half a CRC-32, type, flags, size, fields."""
    body = struct.pack("<BHH", kind, flags, 7 + len(fields)) + fields
    return struct.pack("<H", zlib.crc32(body) & 0xFFFF) + body + data


def file_4(name: bytes, data: bytes, flags: int = 0, system: int = 2, mode: int = 0x20) -> bytes:
    sizes = struct.pack("<IIBI", len(data), len(data), system, zlib.crc32(data))
    rest = struct.pack("<IBBHI", 0x21 << 16, 20, 0x30, len(name), mode)
    return block_4(0x74, 0x8000 | flags, sizes + rest + name, data)


def packed_4(*blocks: bytes, flags: int = 0) -> bytes:
    main = block_4(0x73, flags, bytes(6))
    return b"".join([b"Rar!\x1a\x07\x00", main, *blocks, block_4(0x7B, 0x4000, b"")])


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "CVC-ClinicDB.rar"
    path.parent.mkdir()
    path.write_bytes(packed(FILES))
    return path


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put programs on a PATH that otherwise holds only what a shell script needs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "cat", "head"):
        (folder / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(folder))

    def write(script: str, name: str = "unrar") -> None:
        # Called with p or e to print a file, and otherwise to see whether it is there.
        text = f'#!{folder / "sh"}\ncase "$1" in p|e) ;; *) exit 0;; esac\n{script}\n'
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)

    return write


@pytest.mark.parametrize("version", [5, 4])
def test_stored_files_need_no_program(version: int, install, archive: Path, tmp_path: Path) -> None:
    if version == 4:
        folder = file_4(b"Ground Truth", b"", 0xE0)
        names = (name.replace("/", "\\").encode() for name in FILES)
        files = (file_4(name, data) for name, data in zip(names, FILES.values(), strict=True))
        archive.write_bytes(packed_4(folder, *files))
    assert unpack(archive, tmp_path / "out").files == 3
    assert contents(tmp_path / "out") == FILES
    mode = (tmp_path / "out" / "Original" / "1.tif").stat().st_mode
    assert stat.S_IMODE(mode) == stat.S_IMODE(0o666 & ~_umask())
    assert list(file_names(archive)) == list(FILES)


def _umask() -> int:
    import os

    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_names_in_unicode(archive: Path, tmp_path: Path) -> None:
    archive.write_bytes(packed(FILES, file_5("Ordner/ä", b"x"), file_5("leer/ü", b"", 0o40755)))
    unpack(archive, tmp_path / "out")
    assert contents(tmp_path / "out") == {**FILES, "Ordner/ä": b"x"}
    assert (tmp_path / "out" / "leer" / "ü").is_dir()


@pytest.mark.parametrize(("name", "argument"), [("unrar", "p"), ("7z", "e")])
def test_a_program_reads_what_is_compressed(
    name: str, argument: str, install, archive: Path, tmp_path: Path
) -> None:
    archive.write_bytes(packed(FILES, file_5("a/x y", b"12345", method=COMPRESSED)))
    install(f'test "$1" = {argument} && printf 12345', name)
    assert has_rar_program()
    assert unpack(archive, tmp_path / "out").files == 4
    assert contents(tmp_path / "out") == {**FILES, "a/x y": b"12345"}


@pytest.mark.parametrize(
    "script",
    ["printf 54321", "printf 1", "true", "echo checksum error >&2; exit 3", "cat; exit 7"],
)
def test_what_a_program_prints_is_checked(
    script: str, install, archive: Path, tmp_path: Path
) -> None:
    archive.write_bytes(packed(FILES, file_5("a/x y", b"12345", method=COMPRESSED)))
    install(script)
    with pytest.raises(ArchiveError, match="damaged"):
        unpack(archive, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "in"]


def test_without_a_program_the_error_names_some(install, archive: Path, tmp_path: Path) -> None:
    archive.write_bytes(packed(FILES, file_5("a", b"12345", method=COMPRESSED)))
    with pytest.raises(ArchiveError, match="no program that reads it") as caught:
        unpack(archive, tmp_path / "out")
    for name in ("unrar", "7z", "bsdtar", "unar", "zip file"):
        assert name in str(caught.value.remedy)
    assert not has_rar_program()


WHOLE = packed(FILES)
REFUSED = {
    "escape": (packed({"../x": b"1"}), r"'\.\./x' leads out of the folder"),
    "escape 4": (packed_4(file_4(b"..\\x", b"1")), r"'\.\./x' leads out of the folder"),
    "absolute": (packed({"/x": b"1"}), "absolute path"),
    "no name": (packed({"": b"1"}), "has no name"),
    "case": (packed({"a": b"1", "A": b"2"}), "occurs twice"),
    "inside": (packed({"a": b"1", "a/b": b"2"}), "lies inside another entry"),
    "link": (packed(FILES, linked(*LINK)), "'link' is a link or a device"),
    "link 4": (packed_4(file_4(b"l", b"/etc", 0, 3, 0o120777)), "'l' is a link or a device"),
    "device": (packed({}, file_5("d", b"", 0o020666)), "'d' is a link or a device"),
    "encrypted": (packed({}, file_5("x", b"1", record=vint(1) + bytes(40))), "is encrypted"),
    "encrypted 4": (packed_4(file_4(b"x", b"1", 4)), "is encrypted"),
    "all encrypted 4": (packed_4(flags=0x80), "is encrypted"),
    "volume": (packed(FILES, volume=True), "one part of several"),
    "split": (packed({}, file_5("x", b"1", flags=16)), "one part of several"),
    "volume 4": (packed_4(flags=1), "one part of several"),
    "bomb": (packed({}, file_5("x", b"1", size=1 << 40)), "unpacks to more than"),
    "size beyond 2^63": (packed({}, file_5("x", b"1", size=1 << 63)), "unpacks to more than"),
    "long path": (packed({"d/" * 30 + "x" * 1000: b""}), "path of more than 1,000 bytes"),
    "wrong checksum": (packed(FILES, file_5("x", b"data", crc_of=b"tada")), "damaged: .*CRC"),
    "packed size beyond 2^63": (
        packed({}, block_5(2, vint(4) + bytes(9), b"1", data_size=1 << 63)),
        "damaged: it has a damaged header",
    ),
    "all encrypted": (packed({}, block_5(4, bytes(2) + vint(15) + bytes(16))), "is encrypted"),
    "bit": (WHOLE[:40] + bytes([WHOLE[40] ^ 1]) + WHOLE[41:], "damaged"),
    "cut": (WHOLE[:-30], "damaged"),
    "no end": (WHOLE[:-8], "damaged: "),
    "cut 4": (packed_4(file_4(b"x", b"1" * 99))[:-50], "damaged: it is truncated"),
    "garbage": (b"Rar!\x1a\x07\x01\x00" + bytes(99), "damaged"),
    "version": (b"Rar!\x1a\x07\x09\x00" + bytes(99), "damaged: Not a R"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, install, archive: Path, tmp_path: Path) -> None:
    data, says = REFUSED[name]
    install("echo ran > ../../ran")
    archive.write_bytes(data)
    with pytest.raises(ArchiveError, match=says) as caught:
        unpack(archive, tmp_path / "out")
    assert caught.value.where == archive
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "in"]


def test_limits(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="more than"):
        unpack(archive, tmp_path / "out", Limits(total_bytes=100))
