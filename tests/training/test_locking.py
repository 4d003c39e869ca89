from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from naslora.core.errors import TRY_AGAIN, DiskError, LockError
from naslora.study.records import read_attempt, read_receipt
from naslora.training import locking
from naslora.training.locking import Owner, RunLock

NewRun = Callable[..., Any]


def owners(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("owner-*"))


@contextmanager
def held(folder: Path) -> Iterator[RunLock]:
    lock = RunLock.acquire(folder)
    try:
        yield lock
    finally:
        lock.release()


def changed(folder: Path, **values: Any) -> Path:
    """Change what the owner's file says, as if it were of another process or machine."""
    (path,) = folder.glob("owner-*")
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return path


@contextmanager
def dead(folder: Path, **values: Any) -> Iterator[None]:
    """What a process that was killed leaves behind."""
    lock = RunLock.acquire(folder)
    changed(folder, **{"process": 2**30, **values})
    os.close(lock._descriptor)
    yield
    assert not (folder / "owner-000001.json").exists()


def test_one_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "anew"
    with held(folder) as lock:
        lock.check()
        with pytest.raises(LockError, match=f"at work on this run: process {os.getpid()} on ") as e:
            RunLock.acquire(folder)
        assert e.value.exit_code == TRY_AGAIN
        assert e.value.where == folder / "owner-000001.json"
        lock.check()
    assert owners(folder) == []
    with held(folder):
        pass


def test_a_dead_holder_is_followed(tmp_path: Path) -> None:
    with dead(tmp_path), held(tmp_path) as lock:
        assert owners(tmp_path) == ["owner-000002.json"]
        lock.check()
    assert owners(tmp_path) == []


def test_another_process_of_the_same_number_is_not_the_holder(tmp_path: Path) -> None:
    with dead(tmp_path, process=os.getpid(), began="1"), held(tmp_path):
        pass


def test_a_zombie_is_dead(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        RunLock.acquire(tmp_path)
        os._exit(0)
    try:
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert owners(tmp_path) == ["owner-000001.json"]
        with held(tmp_path):
            pass
    finally:
        os.waitpid(child, 0)


def test_a_holder_on_another_machine_is_known_by_its_lock(tmp_path: Path) -> None:
    with held(tmp_path):
        changed(tmp_path, machine="another", host="node7")
        with pytest.raises(LockError, match=r"process \d+ on node7"):
            RunLock.acquire(tmp_path)
    with dead(tmp_path, machine="another"), held(tmp_path):
        pass


def test_without_locks_a_holder_elsewhere_is_taken_over_and_fenced_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    first = RunLock.acquire(tmp_path)
    changed(tmp_path, machine="another")
    with held(tmp_path) as second:
        second.check()
        with pytest.raises(LockError, match=f"taken over by process {os.getpid()}"):
            first.check()
        with pytest.raises(LockError), first.guard():
            pytest.fail("the block must not begin")
        first.release()  # which must not give away what is another's
        second.check()
    assert owners(tmp_path) == []


def test_who_is_taken_over_while_it_writes_hears_of_that(tmp_path: Path) -> None:
    def lose() -> None:
        changed(tmp_path, process=2**30)
        stack.enter_context(held(tmp_path))
        raise FileNotFoundError

    with ExitStack() as stack:
        first = stack.enter_context(held(tmp_path))
        with pytest.raises(LockError, match="taken over"), first.guard():
            lose()
    with held(tmp_path) as lock, pytest.raises(FileNotFoundError), lock.guard():
        raise FileNotFoundError


def test_a_requeued_job_follows_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    with held(tmp_path) as first:
        with pytest.raises(LockError, match="SLURM job 17"):
            RunLock.acquire(tmp_path)
        monkeypatch.setenv("SLURM_JOB_ID", "18")
        monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
        with pytest.raises(LockError, match="SLURM job 17"):
            RunLock.acquire(tmp_path)
        monkeypatch.setenv("SLURM_JOB_ID", "17")
        with held(tmp_path), pytest.raises(LockError, match="taken over"):
            first.check()


def test_a_lock_that_was_removed_is_missed(tmp_path: Path) -> None:
    with held(tmp_path) as lock:
        (tmp_path / "owner-000001.json").unlink()
        with pytest.raises(LockError, match="lock was removed"):
            lock.check()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"token": 1}'])
def test_a_name_that_was_never_written_to_its_end(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locking, "_WRITTEN_S", 0.02)
    (tmp_path / "owner-000009.json").write_text(text)
    with held(tmp_path):
        assert owners(tmp_path) == ["owner-000010.json"]


def test_a_slow_writer_is_waited_for(tmp_path: Path) -> None:
    me = Owner.here()
    child = os.fork()
    if child == 0:
        path = tmp_path / "owner-000001.json"
        path.touch()
        time.sleep(0.2)
        path.write_text(json.dumps(vars(me)))
        os._exit(0)
    while not owners(tmp_path):
        time.sleep(0.01)
    with pytest.raises(LockError):
        RunLock.acquire(tmp_path)
    os.waitpid(child, 0)


def test_a_listing_that_was_out_of_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As clients of network file systems have them: the holder's file shows up a moment later."""
    original, listings = locking._owners, []

    def late(folder: Path) -> list[tuple[int, Path]]:
        listings.append(1)
        return [] if len(listings) == 1 else original(folder)

    with dead(tmp_path), held(tmp_path) as lock:
        monkeypatch.setattr(locking, "_owners", late)
        with pytest.raises(LockError, match="at work"):
            RunLock.acquire(tmp_path)
        assert len(listings) > 1
        assert owners(tmp_path) == ["owner-000002.json"]
        lock.check()


@pytest.mark.parametrize("stale", [False, True])
def test_of_many_at_once_one_wins(tmp_path: Path, stale: bool) -> None:
    for turn in range(5):
        folder = tmp_path / str(turn)
        if stale:
            lock = RunLock.acquire(folder)
            changed(folder, process=2**30)
            os.close(lock._descriptor)
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
                    RunLock.acquire(folder)
                    code = 0
                except LockError:
                    code = 1
                finally:
                    if code == 0:
                        os.read(done, 1)  # hold it until all have tried
                    os._exit(code)
            children.append(child)
        for end in (ready, go, done):
            os.close(end)
        codes = [os.waitstatus_to_exitcode(os.waitpid(-1, 0)[1]) for _ in children[1:]]
        os.close(finish)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(-1, 0)[1]))
        assert sorted(codes) == [0, 1, 1, 1, 1, 1]
        assert len(owners(folder)) == 1


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
    assert owners(disk) == []


def halted(run: Any, before: int = 0) -> tuple[subprocess.Popen[str], int]:
    """A client, and its process that holds the run and has been halted after its third step."""
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
        for owner in run.folder.glob("owner-*"):
            process = json.loads(owner.read_text() or '{"process": 0}')["process"]
            if process not in (0, before):
                state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
                if state == "T":
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
    assert f"error: another process is at work on this run: process {process} on" in errors
    assert "wait until it ends" in errors
    assert run.files() == before
    assert read_attempt(run.note).status == "interrupted"
    os.kill(process, signal.SIGCONT)
    output, errors = client.communicate(timeout=60)
    assert (client.returncode, errors) == (0, "")
    assert "epoch 2/2" in output
    assert run.files() == ["adapter.safetensors", "training.json"]


def test_a_requeued_job_takes_over_from_its_first_incarnation(
    new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That one lives on, and wants to write while the other holds the run."""
    whole, run = new_run("lora", "whole"), new_run("lora", "results", checkpoint_minutes=0)
    assert whole.attempt() == 0
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    first, old = halted(run)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    second, new = halted(run, old)
    os.kill(old, signal.SIGCONT)
    _, errors = first.communicate(timeout=60)
    assert first.returncode == TRY_AGAIN
    assert f"error: this run was taken over by process {new} on" in errors
    os.kill(new, signal.SIGCONT)
    _, errors = second.communicate(timeout=60)
    assert (second.returncode, errors) == (0, "")
    assert run.outcome() == whole.outcome()
    assert run.files() == ["adapter.safetensors", "training.json"]
    assert read_receipt(run.receipt).attempts == 2
