"""One process at a time on a run, with and without file locks."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from naslora.core.errors import TRY_AGAIN, DiskError, LockError
from naslora.study.records import read_attempt
from naslora.training.resume import locking
from naslora.training.resume.locking import RunLock

NewRun = Callable[..., Any]


@contextmanager
def held(folder: Path) -> Iterator[RunLock]:
    lock = RunLock.acquire(folder)
    try:
        yield lock
    finally:
        lock.release()


def in_a_process(action: Callable[[], object]) -> int:
    """Fork, run an action in the child, and kill the child while it holds its locks."""
    child = os.fork()
    if child == 0:
        action()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    return child


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a network file system that has none."""

    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refused)


def test_one_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "anew"
    with held(folder) as lock:
        lock.check()
        with pytest.raises(LockError, match=f"working on this run: process {os.getpid()} on ") as e:
            RunLock.acquire(folder)
        assert e.value.exit_code == TRY_AGAIN
        assert e.value.where == folder
        lock.check()
    assert list(folder.iterdir()) == []
    with held(folder):
        pass


def test_a_killed_process_holds_no_lock(tmp_path: Path) -> None:
    in_a_process(lambda: RunLock.acquire(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["owner.json", "run.lock"]
    with held(tmp_path) as lock:
        lock.check()
    assert list(tmp_path.iterdir()) == []


def test_without_locks_the_later_one_takes_over(tmp_path: Path, no_locks: None) -> None:
    first = RunLock.acquire(tmp_path)
    with held(tmp_path) as second:
        second.check()
        with pytest.raises(LockError, match=f"taken over by process {os.getpid()}"):
            first.check()
        with pytest.raises(LockError), first.guard():
            pytest.fail("the block must not begin")
        first.release()  # which must not release what is another's
        second.check()
    assert list(tmp_path.iterdir()) == []


def test_a_process_taken_over_while_writing_raises(tmp_path: Path, no_locks: None) -> None:
    def lose() -> None:
        stack.enter_context(held(tmp_path))
        raise FileNotFoundError

    with ExitStack() as stack:
        first = stack.enter_context(held(tmp_path))
        with pytest.raises(LockError, match="taken over"), first.guard():
            lose()
    with held(tmp_path) as lock, pytest.raises(FileNotFoundError), lock.guard():
        raise FileNotFoundError


def test_a_requeued_job_waits_for_its_first_incarnation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    first = RunLock.acquire(tmp_path)
    release = threading.Timer(0.3, first.release)
    release.start()
    with held(tmp_path) as second:
        second.check()
        release.join()
        monkeypatch.setenv("SLURM_JOB_ID", "18")
        began = time.monotonic()
        with pytest.raises(LockError, match="SLURM job 17"):
            RunLock.acquire(tmp_path)
        assert time.monotonic() - began < 5
        monkeypatch.setenv("SLURM_JOB_ID", "17")
        monkeypatch.setattr(locking, "_REQUEUED_S", 0.1)
        with pytest.raises(LockError, match="SLURM job 17"):
            RunLock.acquire(tmp_path)


@pytest.mark.parametrize("folder_too", [False, True])
def test_a_folder_that_was_emptied_or_deleted(tmp_path: Path, folder_too: bool) -> None:
    folder = tmp_path / "run"
    with held(folder) as lock:
        for path in folder.iterdir():
            path.unlink()
        if folder_too:
            folder.rmdir()
        with pytest.raises(LockError, match="was deleted or emptied during the run"):
            lock.check()
        with pytest.raises(LockError), lock.guard():
            pytest.fail("the block must not begin")
        assert folder.exists() != folder_too


@pytest.mark.parametrize("text", ["", "{", "[]", '{"token": 1}'])
def test_an_owner_that_was_never_written_to_its_end(tmp_path: Path, text: str) -> None:
    (tmp_path / "owner.json").write_text(text)
    with held(tmp_path) as lock:
        lock.check()


@pytest.mark.parametrize("stale", [False, True])
def test_of_many_at_once_one_wins(tmp_path: Path, stale: bool) -> None:
    for turn in range(5):
        folder = tmp_path / str(turn)
        if stale:
            in_a_process(lambda folder=folder: RunLock.acquire(folder))
        ready, go = os.pipe()
        done, finish = os.pipe()
        children = []
        for _ in range(6):
            child = os.fork()
            if child == 0:
                os.close(go)
                os.close(finish)
                os.read(ready, 1)
                code = 3
                try:
                    mine = RunLock.acquire(folder)  # a lock that nothing refers to is released
                    code = 0
                except LockError:
                    code = 1
                finally:
                    if code == 0:
                        os.read(done, 1)  # hold it until all have tried
                        mine.check()
                    os._exit(code)
            children.append(child)
        for end in (ready, go, done):
            os.close(end)
        left, codes = set(children), []
        deadline = time.monotonic() + 120
        while left and time.monotonic() < deadline:
            if len(left) == 1 and finish >= 0:
                os.close(finish)
                finish = -1
            for child in [*left]:  # not all children: a fixture may have some of its own
                ended, status = os.waitpid(child, os.WNOHANG)
                if ended:
                    left.remove(child)
                    codes.append(os.waitstatus_to_exitcode(status))
            time.sleep(0.01)
        assert sorted(codes) == [0, 1, 1, 1, 1, 1]
        with held(folder):
            pass


def test_a_folder_that_cannot_be_written_to(mounted: Callable[[int], Path]) -> None:
    disk = mounted(16)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(DiskError, match="Read-only file system"):
        RunLock.acquire(disk)
    with pytest.raises(DiskError, match="Read-only file system"):
        RunLock.acquire(disk / "new")


def test_a_disk_too_full_for_the_owners_name(mounted: Callable[[int], Path]) -> None:
    disk = mounted(16)
    with pytest.raises(OSError, match="No space left"):
        (disk / "filler").write_bytes(b"\0" * 1024 * 1024)
    with pytest.raises(DiskError, match="No space left"):
        RunLock.acquire(disk)
    assert not (disk / "owner.json").exists()


def halted(run: Any) -> tuple[subprocess.Popen[str], int]:
    """A client, and its process that holds the run, halted after its third step."""
    client = subprocess.Popen(
        [sys.executable, "-m", "naslora", *run.command],
        env={**os.environ, "NASLORA_TEST_FAULT": "SIGSTOP step 3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 60
    while time.monotonic() < end:
        time.sleep(0.05)
        owner = run.folder / "owner.json"
        if owner.is_file():
            process = json.loads(owner.read_text())["process"]
            if psutil.Process(process).status() == psutil.STATUS_STOPPED:
                return client, process
    raise AssertionError(f"not halted: {client.communicate()}")


def test_a_second_process_is_refused_and_does_no_harm(
    new_run: NewRun, capfd: pytest.CaptureFixture[str]
) -> None:
    run = new_run("lora", "results", checkpoint_minutes=0)
    client, process = halted(run)
    before = run.files()
    assert run.attempt() == TRY_AGAIN
    errors = capfd.readouterr().err
    assert f"error: another process is working on this run: process {process} on" in errors
    assert "wait until it ends" in errors
    assert run.files() == before
    assert read_attempt(run.note).status == "interrupted"
    os.kill(process, signal.SIGCONT)
    output, errors = client.communicate(timeout=60)
    assert (client.returncode, errors) == (0, "")
    assert "epoch 2/2" in output
    assert run.files() == ["adapter.safetensors", "training.json"]


def test_a_run_that_was_taken_over_stops_and_harms_nothing(
    new_run: NewRun, capfd: pytest.CaptureFixture[str]
) -> None:
    """As without locks: the first process is still alive, and would write after the second."""
    whole, run = new_run("lora", "whole"), new_run("lora", "results", checkpoint_minutes=0)
    assert whole.attempt() == 0
    client, process = halted(run)
    (run.folder / "run.lock").unlink()  # the second one makes its own
    assert run.attempt() == 0
    assert run.outcome() == whole.outcome()
    files = run.files()
    os.kill(process, signal.SIGCONT)
    _, errors = client.communicate(timeout=60)
    assert client.returncode == TRY_AGAIN
    assert "error: the folder of this run was deleted or emptied during the run" in errors
    assert run.files() == files == ["adapter.safetensors", "training.json"]
    assert run.outcome() == whole.outcome()
