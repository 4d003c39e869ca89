from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from naslora.core import errors, files
from naslora.core.errors import (
    DiskError,
    DivergedError,
    LockError,
    NasloraError,
    SettingsError,
    StoppedError,
)
from naslora.core.files import whole_folder

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def tree(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def test_an_error_says_what_where_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    error = NasloraError("no such thing", where="thing.txt", remedy="make one")
    assert str(error).splitlines() == [
        "no such thing",
        f"  where: {tmp_path / 'thing.txt'}",
        "  what to do: make one",
    ]
    assert str(NasloraError("no such thing")) == "no such thing"


def test_exit_codes_tell_divergence_and_what_may_go_well_later() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind: kind.exit_code for kind in kinds if issubclass(kind, NasloraError)}
    assert len(codes) > 5
    assert codes.pop(DivergedError) == 3
    assert codes.pop(LockError) == codes.pop(StoppedError) == 75
    assert set(codes.values()) == {1}


@given(JSON)
def test_canonical_json_is_json_and_ignores_order(value: object) -> None:
    assert json.loads(files.canonical_json(value)) == value
    if isinstance(value, dict):
        turned = dict(reversed(value.items()))
        assert files.fingerprint(turned) == files.fingerprint(value)


def test_fingerprints_differ_and_refuse_nan() -> None:
    assert files.fingerprint({"a": 1}) != files.fingerprint({"a": 2})
    assert files.fingerprint({"a": 1.0}) != files.fingerprint({"a": "1.0"})
    with pytest.raises(ValueError, match="JSON compliant"):
        files.fingerprint({"a": float("nan")})


def test_sha256_of_a_known_text(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.sha256(tmp_path / "a") == expected


def test_folders_are_made_and_content_is_exact(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.json"
    files.write_json(path, {"b": 1, "a": "é"})
    assert path.read_bytes() == '{\n  "a": "é",\n  "b": 1\n}\n'.encode()
    assert tree(tmp_path) == ["a", "b", "c.json"]


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_permissions_follow_the_umask(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        files.write_text(tmp_path / "a.txt", "a")
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), OSError("no number")])
def test_an_error_keeps_the_old_file_and_leaves_nothing(
    tmp_path: Path, error: BaseException
) -> None:
    path = tmp_path / "a.bin"
    files.write_bytes(path, b"old")
    with pytest.raises(type(error)), files.whole_file(path) as temporary:  # noqa: PT012
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".bin"
        temporary.write_bytes(b"half of the n")
        raise error
    assert path.read_bytes() == b"old"
    assert tree(tmp_path) == ["a.bin"]


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with files.whole_file(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_json_that_cannot_be_written_leaves_the_old(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, [1])
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(path, [float("inf")])
    assert json.loads(path.read_text()) == [1]
    assert tree(tmp_path) == ["a.json"]


def test_writers_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    contents = [bytes([number]) * 100_000 for number in range(8)]
    go = threading.Barrier(len(contents))

    def write(content: bytes) -> None:
        go.wait()
        for _ in range(5):
            files.write_bytes(path, content)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert tree(tmp_path) == ["a.bin"]


def test_a_full_disk(mounted: Callable[[int], Path]) -> None:
    small_disk = mounted(256)
    path = small_disk / "a.bin"
    files.write_bytes(path, b"old")
    with pytest.raises(DiskError, match="No space left") as caught:
        files.write_bytes(path, bytes(1 << 20))
    assert caught.value.where == small_disk
    assert caught.value.remedy
    assert path.read_bytes() == b"old"
    assert tree(small_disk) == ["a.bin"]


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    for path in (tmp_path / "results" / "a.txt", tmp_path / "results" / "b" / "a.txt"):
        with pytest.raises(DiskError, match=r"cannot write a\.txt"):
            files.write_text(path, "a")


def test_a_folder_in_the_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(DiskError, match="directory"):
        files.write_text(tmp_path / "a.txt", "a")
    assert tree(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EDQUOT])
def test_errors_of_the_disk_are_told_from_others(tmp_path: Path, number: int) -> None:
    with pytest.raises(DiskError), files.whole_file(tmp_path / "a"):
        raise OSError(number, os.strerror(number))
    with pytest.raises(InterruptedError), files.whole_file(tmp_path / "a"):
        raise OSError(errno.EINTR, "")


def test_light_modules_do_not_import_torch() -> None:
    code = (
        "import sys, naslora.cli, naslora.study.records, naslora.study.layout, naslora.__main__;"
        "heavy = {'torch', 'pandas', 'matplotlib', 'lightning_fabric'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_errors_are_caught_as_one_kind() -> None:
    with pytest.raises(NasloraError):
        raise SettingsError("no")


def aged(path: Path, folder: bool = False) -> Path:
    path.mkdir() if folder else path.write_text("half of it")
    two_days_ago = time.time() - 48 * 3600
    os.utime(path, (two_days_ago, two_days_ago))
    return path


def test_the_next_write_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    stale = aged(tmp_path / ".a-0a_b1c2d.json")
    others = [
        aged(tmp_path / name)
        for name in (".a-0a_b1c2d.txt", ".b-0a_b1c2d.json", ".a-b-0a_b1c2d.json", "a-0a_b1c2d.json")
    ]
    fresh = tmp_path / ".a-ffffffff.json"
    fresh.write_text("half of it, by another process")
    files.write_json(tmp_path / "a.json", 1)
    assert not stale.exists()
    assert all(path.exists() for path in (fresh, *others))


def test_folders_that_killed_processes_left(tmp_path: Path) -> None:
    stale, used = (aged(tmp_path / f".task-{c * 8}", folder=True) for c in "ab")
    (used / "new").mkdir()
    written = used / "new" / "image"
    written.write_text("written just now")
    os.utime(used, (0, 0))
    with whole_folder(tmp_path / "task") as folder:
        assert not stale.exists()
        (folder / "image").write_text("image")
    assert written.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [used.name, "task"]


def full_disk(source: Path, copy: Path) -> None:
    """Fail like `shutil.copyfile`, whose error names both files."""
    raise OSError(errno.ENOSPC, "", str(source), None, str(copy))


def damaged(source: Path, copy: Path) -> None:
    raise OSError("damaged")


@pytest.mark.parametrize(
    ("fill", "error", "says"),
    [
        (lambda source, copy: shutil.copyfile(source.with_name("b"), copy), DiskError, "use b: No"),
        (lambda source, copy: source.parent.read_bytes(), DiskError, "use away: Is a dir"),
        (lambda source, copy: copy.parent.write_bytes(b""), DiskError, "write task: Is a dir"),
        (lambda source, copy: shutil.copyfile(source, copy.parent), DiskError, "write task: Is a"),
        (full_disk, DiskError, "write task: No space left"),
        (lambda source, copy: copy.read_bytes(), FileNotFoundError, "copy"),
        (damaged, OSError, "damaged"),
    ],
)
def test_an_error_while_a_folder_is_filled_names_what_failed(
    fill: Callable[[Path, Path], object], error: type[Exception], says: str, tmp_path: Path
) -> None:
    """A file elsewhere that cannot be used is named in place of the folder."""
    source = tmp_path / "away" / "source"
    files.write_text(source, "1")
    with pytest.raises(error, match=says) as caught, whole_folder(tmp_path / "task") as folder:
        fill(source, folder / "copy")
    if isinstance(caught.value, DiskError):
        where = {"b": source.with_name("b"), "away": source.parent, "task": tmp_path}
        assert caught.value.where == where[caught.value.what.split(":")[0].split()[-1]]
    assert tree(tmp_path) == ["away", "source"]


def test_leftovers_where_nobody_else_writes(tmp_path: Path) -> None:
    with files.whole_file(tmp_path / "a.json") as temporary:
        files.remove_leftovers(tmp_path)
        assert temporary.exists()
        files.remove_leftovers(tmp_path, alone=True)
        assert not temporary.exists()
        temporary.write_text("1")
    (tmp_path / ".gitkeep").touch()
    files.remove_leftovers(tmp_path, alone=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".gitkeep", "a.json"]
