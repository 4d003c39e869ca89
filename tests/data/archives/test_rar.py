"""RAR files: made here by hand, unpacked by the programs that are installed and by false ones."""

from __future__ import annotations

import shutil
import stat
import struct
import zlib
from pathlib import Path

import pytest

from naslora.core.errors import ArchiveError
from naslora.data.archives.rar import rar_programs
from naslora.data.archives.rar_list import list_rar
from naslora.data.archives.unpack import Limits, file_names, unpack

FILES = {"Original/1.tif": b"image", "Ground Truth/1.tif": b"mask" * 100, "empty": b""}
LINK = ("link", "/etc/passwd")


def vint(value: int) -> bytes:
    digits = []
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])


def block_5(kind: int, fields: bytes, data: bytes = b"", extra: bytes = b"", flags: int = 0):
    """A header of format 5 and its data: CRC-32, size, type, flags, sizes, fields, extra."""
    flags |= (1 if extra else 0) | (2 if data or kind == 2 else 0)
    body = vint(kind) + vint(flags)
    body += vint(len(extra)) if extra else b""
    body += vint(len(data)) if flags & 2 else b""
    body = vint(len(body + fields + extra)) + body + fields + extra
    return struct.pack("<I", zlib.crc32(body)) + body + data


def file_5(name: str, data: bytes, mode: int = 0o100644, record: bytes = b"", **other) -> bytes:
    is_folder = stat.S_ISDIR(mode)
    crc = struct.pack("<I", zlib.crc32(other.get("crc_of", data)))
    fields = vint(1 if is_folder else 4) + vint(other.get("size", len(data))) + vint(mode)
    fields += (b"" if is_folder else crc) + vint(0) + vint(1) + vint(len(name.encode()))
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
    """Put programs on a PATH that has no other ones but a shell's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "cat", "mkdir", "ln", "head"):
        (folder / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(folder))

    def write(script: str, name: str = "unrar") -> None:
        # The folder to unpack to is the last argument.
        text = f'#!{folder / "sh"}\nfor place; do :; done\ncd "$place"\n{script}\n'
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)

    return write


real = pytest.mark.skipif(
    not rar_programs(), reason="none of unrar, 7z, bsdtar and unar is installed"
)


@real
@pytest.mark.parametrize("data", [packed(FILES), packed_4(file_4(b"Original\\1.tif", b"image"))])
def test_a_real_program(data: bytes, archive: Path, tmp_path: Path) -> None:
    archive.write_bytes(data)
    unpack(archive, tmp_path / "out")
    found = contents(tmp_path / "out")
    assert found["Original/1.tif"] == b"image"
    assert found == {name: data for name, data in FILES.items() if name in found}
    assert stat.S_IMODE((tmp_path / "out" / "Original" / "1.tif").stat().st_mode) == 0o644


@real
def test_a_wrong_checksum_is_found(archive: Path, tmp_path: Path) -> None:
    archive.write_bytes(packed(FILES, file_5("x", b"data", crc_of=b"tada")))
    with pytest.raises(ArchiveError, match="cannot be unpacked"):
        unpack(archive, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_lists_of_both_formats(archive: Path) -> None:
    archive.write_bytes(packed(FILES, file_5("Ordner/ä", b"", 0o40755)))
    entries = list(list_rar(archive))
    assert [(e.name, e.size, e.is_folder, e.refusal) for e in entries] == [
        ("Original/1.tif", 5, False, None),
        ("Ground Truth/1.tif", 400, False, None),
        ("empty", 0, False, None),
        ("Ordner/ä", 0, True, None),
    ]
    assert entries[0].crc == zlib.crc32(b"image")
    assert list(file_names(archive)) == list(FILES)
    comment = block_4(0x7A, 0x8000, file_4(b"CMT", b"hello")[7:-5], b"hello")
    folder = file_4(b"Ground Truth", b"", 0xE0)
    archive.write_bytes(packed_4(comment, folder, file_4(b"Ground Truth\\1.tif", b"mask")))
    assert [(e.name, e.size, e.is_folder, e.refusal) for e in list_rar(archive)] == [
        ("Ground Truth", 0, True, None),
        ("Ground Truth/1.tif", 4, False, None),
    ]


WHOLE = packed(FILES)
REFUSED = {
    "escape": (packed({"../x": b"1"}), r"'\.\./x' leads out of the folder"),
    "escape 4": (packed_4(file_4(b"..\\x", b"1")), r"'\.\./x' leads out of the folder"),
    "absolute": (packed({"/x": b"1"}), "absolute path"),
    "case": (packed({"a": b"1", "A": b"2"}), "occurs twice"),
    "inside": (packed({"a": b"1", "a/b": b"2"}), "lies inside another entry"),
    "link": (packed(FILES, linked(*LINK)), "'link' is a link or a device"),
    "link 4": (packed_4(file_4(b"l", b"/etc", 0, 3, 0o120777)), "'l' is a link or a device"),
    "device": (packed({}, file_5("d", b"", 0o020666)), "'d' is a link or a device"),
    "encrypted": (packed({}, file_5("x", b"1", record=vint(1) + bytes(9))), "'x' is encrypted"),
    "encrypted 4": (packed_4(file_4(b"x", b"1", 4)), "'x' is encrypted"),
    "all encrypted": (packed({}, block_5(4, vint(0))), "cannot be read: it is encrypted"),
    "all encrypted 4": (packed_4(flags=0x80), "cannot be read: it is encrypted"),
    "volume": (packed(FILES, volume=True), "one part of several"),
    "split": (packed({}, file_5("x", b"1", flags=16)), "one part of several"),
    "volume 4": (packed_4(flags=1), "one part of several"),
    "bomb": (packed({}, file_5("x", b"1", size=1 << 40)), "unpacks to more than"),
    "unicode 4": (packed_4(file_4(b"a\x00\x01\x02", b"1", 0x200)), "not plain ASCII"),
    "bit": (WHOLE[:40] + bytes([WHOLE[40] ^ 1]) + WHOLE[41:], "damaged header"),
    "cut": (WHOLE[:-30], "it is truncated"),
    "no end": (WHOLE[:-8], "it is truncated"),
    "cut 4": (packed_4(file_4(b"x", b"1" * 99))[:-50], "it is truncated"),
    "garbage": (b"Rar!\x1a\x07\x01\x00" + bytes(99), "damaged header"),
    "version": (b"Rar!\x1a\x07\x09\x00" + bytes(99), "unknown version"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_before_any_program_runs(name: str, install, archive: Path, tmp_path: Path) -> None:
    data, says = REFUSED[name]
    install("echo ran > ../../ran")
    archive.write_bytes(data)
    with pytest.raises(ArchiveError, match=says) as caught:
        unpack(archive, tmp_path / "out")
    assert caught.value.where == archive
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "in"]


def test_limits(install, archive: Path, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="more than"):
        unpack(archive, tmp_path / "out", Limits(total_bytes=100))


def test_without_a_program_the_error_names_some(install, archive: Path, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="no program that unpacks it") as caught:
        unpack(archive, tmp_path / "out")
    for name in ("unrar", "7z", "bsdtar", "unar", "zip file"):
        assert name in str(caught.value.remedy)
    assert rar_programs() == []


GOOD = "mkdir a; printf 12345 > 'a/x y'"


def test_the_next_program_is_tried(install, archive: Path, tmp_path: Path) -> None:
    archive.write_bytes(packed({"a/x y": b"12345"}))
    install("printf half > rest; exit 1")
    install(f'cd "${{5#-o}}"; {GOOD}', "7z")
    assert rar_programs() == ["unrar", "7z"]
    assert unpack(archive, tmp_path / "out") == 1
    assert contents(tmp_path / "out") == {"a/x y": b"12345"}


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (f"{GOOD}; ln -s /etc/passwd l", "'l' comes out of it as a link"),
        (f"{GOOD}; ln 'a/x y' hard", "comes out of it as a link"),
        (f"{GOOD}; printf 1 > z", "'z' comes out of it, which it does not list"),
        ("mkdir a; printf 1 > 'a/x y'", "other contents"),
        ("mkdir a; printf 54321 > 'a/x y'", "other contents"),
        ("mkdir a; head -c 99999 /dev/zero > 'a/x y'", "unrar (fails|unpacks)"),
        ("true", "leaves 'a/x y' out"),
        ("echo checksum error >&2; exit 3", "unrar fails with code 3: checksum error"),
        ("cat; exit 7", "code 7: without a word"),
        ('echo "$LC_ALL"; exit 9', r"code 9: C\.UTF-8"),
    ],
)
def test_no_program_is_trusted(
    script: str, says: str, install, archive: Path, tmp_path: Path
) -> None:
    archive.write_bytes(packed({"a/x y": b"12345"}))
    install(script)
    with pytest.raises(ArchiveError, match=says):
        unpack(archive, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "in"]
