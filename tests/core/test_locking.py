from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from naslora.core.locking import Lock, exclusive


def test_one_at_a_time_and_no_file_is_left(tmp_path: Path) -> None:
    first, second = Lock(tmp_path / "lock"), Lock(tmp_path / "lock")
    assert first.acquire(0)
    assert not second.acquire(0)
    first.release()
    assert second.acquire(0)
    second.release()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_ends_with_its_process_and_is_not_its_childrens(tmp_path: Path) -> None:
    """For example, the lock of a training whose loader processes outlive it for a moment."""
    ready, told = os.pipe()
    over, end = os.pipe()
    holder = os.fork()
    if holder == 0:
        assert Lock(tmp_path / "lock").acquire(0)
        if os.fork() == 0:
            os.close(end)
            os.write(told, b".")
            os.read(over, 1)  # until the test ends
        os._exit(0)
    os.read(ready, 1)
    os.waitpid(holder, 0)
    lock = Lock(tmp_path / "lock")
    assert lock.acquire(0)
    lock.release()
    os.close(end)


def test_threads_take_turns(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        with exclusive(tmp_path / "file"):
            inside.append(1)
            most.append(len(inside))
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 8
    assert list(tmp_path.iterdir()) == []


def test_without_locks_everyone_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    first, second = Lock(tmp_path / "lock"), Lock(tmp_path / "lock")
    assert first.acquire(0)
    assert second.acquire(0)
    first.release()
    second.release()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"), exclusive(tmp_path / "file" / "below"):
        pytest.fail("the block must not begin")
