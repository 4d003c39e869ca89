from __future__ import annotations

import errno
import gzip
import io
import shutil
import subprocess
import tarfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from naslora.core.errors import ArchiveError, DiskError
from naslora.core.files import whole_folder
from naslora.data.archives.entries import Limits
from naslora.data.archives.unpack import Unpacked, unpack


def test_zip_and_tar_unpack_to_the_same_files(kit: SimpleNamespace, tmp_path: Path) -> None:
    files = kit.kvasir_files(3)
    (tmp_path / "a.zip").write_bytes(kit.zipped({**files, "Kvasir-SEG/empty/": b""}))
    for name, mode in (("a.tar", "w"), ("a.tgz", "w:gz"), ("a.tar.xz", "w:xz")):
        with tarfile.open(tmp_path / name, mode) as archive:
            for path, data in files.items():
                info = tarfile.TarInfo("./" + path)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    for name in ("a.zip", "a.tar", "a.tgz", "a.tar.xz"):
        target = tmp_path / f"{name}.out"
        assert unpack(tmp_path / name, target) == Unpacked(len(files), 0)
        found = {p.relative_to(target).as_posix(): p for p in target.rglob("*") if p.is_file()}
        assert {path: p.read_bytes() for path, p in found.items()} == files


@pytest.mark.parametrize(
    "limits",
    [Limits(total_bytes=1000), Limits(files=5), Limits(ratio=0.5, ratio_from_bytes=0)],
)
def test_limits(limits: Limits, kit: SimpleNamespace, tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(kit.zipped(kit.kvasir_files(3)))
    with pytest.raises(ArchiveError, match="more than"):
        unpack(archive, tmp_path / "out", limits)
    assert kit.tree(tmp_path) == ["a.zip"]


def test_unpacking_replaces_what_was_there(kit: SimpleNamespace, tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(kit.zipped({"new": b"1"}))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    unpack(archive, tmp_path / "out")
    assert kit.tree(tmp_path) == ["a.zip", "out", "out/new"]


def test_a_failed_folder_leaves_the_old_one(kit: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()

    def fill(error: BaseException) -> None:
        with whole_folder(tmp_path / "out") as folder:
            (folder / "half").touch()
            raise error

    for error in (ValueError("x"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            fill(error)
    with pytest.raises(DiskError, match="No space left"):
        fill(OSError(errno.ENOSPC, "No space left on device"))
    assert kit.tree(tmp_path) == ["out", "out/old"]


def test_the_old_folder_comes_back_if_the_new_one_cannot_take_its_place(
    kit: SimpleNamespace, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    with pytest.raises(DiskError), whole_folder(tmp_path / "out") as folder:
        folder.rmdir()
    assert kit.tree(tmp_path) == ["out", "out/old"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot mount a small tmpfs: {error}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("known_beforehand", [True, False])
def test_full_disk(
    known_beforehand: bool, small_disk: Path, kit: SimpleNamespace, tmp_path: Path, monkeypatch
) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(kit.zipped({f"f{n}": bytes(60_000) for n in range(8)}))
    if not known_beforehand:
        plenty = SimpleNamespace(free=1 << 40)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: plenty)
    says = "unpacks to 480,000 bytes, but only" if known_beforehand else "No space left on device"
    with pytest.raises(DiskError, match=says) as caught:
        unpack(archive, small_disk / "out")
    assert str(small_disk) in str(caught.value)
    assert kit.tree(small_disk) == []


def test_a_folder_that_is_a_file(kit: SimpleNamespace, tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(kit.zipped({"x": b"1"}))
    (tmp_path / "file").touch()
    with pytest.raises(DiskError):
        unpack(archive, tmp_path / "file" / "out")


def test_files_that_macos_adds_are_left_out_and_counted(
    kit: SimpleNamespace, tmp_path: Path
) -> None:
    files = kit.kvasir_files(2)
    added = {f"__MACOSX/{name.replace('id', '._id')}": b"x" for name in files}
    added |= {"Kvasir-SEG/.DS_Store": b"x", "Kvasir-SEG/images/._id00.jpg": b"x"}
    (tmp_path / "a.zip").write_bytes(kit.zipped({**files, **added}))
    assert unpack(tmp_path / "a.zip", tmp_path / "out") == Unpacked(len(files), len(added))
    found = [name for name in kit.tree(tmp_path / "out") if "." in name]
    assert found == sorted(files)


def tar_with(kind: bytes, size: int) -> bytes:
    """A compressed tar archive whose first header is followed by a record of `size` zero bytes."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = kind, size
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=9) as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))
    return buffer.getvalue()


LONG = "x" * 65_000
METADATA = {
    "zip with long names": ({"a.zip": {f"{n}" + "d/" * 30_000: b"" for n in range(12)}}, "1,000"),
    "zip with a long name": ({"a.zip": {LONG: b""}}, "path of more than 1,000 bytes"),
    "zip with an empty name": ({"a.zip": {"": b"1"}}, "has no name"),
    "zip with many levels": ({"a.zip": {"d/" * 400 + "x": b""}}, "more than 40 folders deep"),
}


@pytest.mark.parametrize("name", METADATA)
def test_names_that_would_take_time_or_memory(
    name: str, kit: SimpleNamespace, tmp_path: Path
) -> None:
    ((file, files),), says = METADATA[name][0].items(), METADATA[name][1]
    (tmp_path / file).write_bytes(kit.zipped(files))
    tracemalloc.start()
    with pytest.raises(ArchiveError, match=says) as caught:
        unpack(tmp_path / file, tmp_path / "out")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(str(caught.value)) < 600, "a long name is shortened"
    assert peak < 16 << 20
    assert kit.tree(tmp_path) == [file]


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_tar_headers_do_not_fill_the_memory(
    kind: bytes, kit: SimpleNamespace, tmp_path: Path
) -> None:
    (tmp_path / "a.tgz").write_bytes(tar_with(kind, 64 << 20))
    tracemalloc.start()
    with pytest.raises(ArchiveError, match=r"neither .*header of 67,108,864 bytes"):
        unpack(tmp_path / "a.tgz", tmp_path / "out")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20
    assert kit.tree(tmp_path) == ["a.tgz"]


def test_many_small_records_count_as_well(kit: SimpleNamespace, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        for index in range(90):
            info = tarfile.TarInfo(f"f{index}")
            info.pax_headers = {"comment": "x" * 800_000}
            archive.addfile(info)
    (tmp_path / "a.tgz").write_bytes(buffer.getvalue())
    with pytest.raises(ArchiveError, match="unpacks to more than"):
        unpack(tmp_path / "a.tgz", tmp_path / "out")
