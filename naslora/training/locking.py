"""One process at a time on a run: a lock that dies with its holder, and a fence behind it.

The holder's file `owner-<generation>.json` is made by exclusive creation, which is atomic on every
file system that a cluster uses, network file systems included. Who comes later looks whether the
holder lives: on the same machine by its process, on another one by its lock on that file. If it
lives, the later one is refused. If not, the later one makes the file of the next generation and
removes the older: it has taken over.

Where locks do not reach from one machine to another, a living holder cannot be told from a dead
one. It is then taken over, as is the first incarnation of a job that its scheduler has requeued.
Nothing is damaged by it: whoever holds a run checks before each write that its file is still
there, and stops if it is not.
"""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import json
import os
import platform
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from naslora.core.errors import LockError
from naslora.core.files import disk_errors

_NAME = re.compile(r"owner-(\d+)\.json")
# Within this time, whoever has just made its file has written into it.
_WRITTEN_S = 1.0
_PAUSE_S = 0.05
_GONE = (errno.ENOENT, errno.ESTALE)


@dataclass(frozen=True)
class Owner:
    """Who holds a run.

    Attributes:
        token: that no other owner has.
        host: the machine's name, for people.
        machine: its boot and its process namespace, in which `process` means something; None
            where they cannot be told.
        process: number of the process.
        began: of the process, in clock ticks since boot; a later one of its number has another.
        since: date and time of taking the run, for people.
        job: of SLURM, if any.
        requeues: how often SLURM has started that job again.
    """

    token: str
    host: str
    machine: str | None
    process: int
    began: str | None
    since: str
    job: str | None
    requeues: int

    @classmethod
    def here(cls) -> Owner:
        return cls(
            token=secrets.token_hex(8),
            host=platform.node(),
            machine=_machine(),
            process=os.getpid(),
            began=_began(os.getpid()),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            job=os.environ.get("SLURM_JOB_ID"),
            # Job steps do not have SLURM's variable; the workflow passes it on to them.
            requeues=int(
                os.environ.get("SLURM_RESTART_COUNT") or os.environ.get("NASLORA_REQUEUES") or "0"
            ),
        )

    def __str__(self) -> str:
        job = f", SLURM job {self.job}" if self.job else ""
        return f"process {self.process} on {self.host}{job}, since {self.since}"


class RunLock:
    """The right to write into a run's folder; see `acquire`."""

    def __init__(self, path: Path, descriptor: int, owner: Owner):
        self._path = path
        self._descriptor = descriptor
        self._owner = owner

    @classmethod
    def acquire(cls, folder: Path) -> RunLock:
        """Take a run, which nobody has or whose holder is dead.

        Raises:
            LockError: a living process has it.
            DiskError: the folder cannot be written to.
        """
        owner = Owner.here()
        with disk_errors(folder / "owner"):
            folder.mkdir(parents=True, exist_ok=True)
        while True:
            generation, newest = _newest(folder)
            if newest is not None:
                _refuse_if_held(newest, owner)
            path = folder / f"owner-{generation + 1:06d}.json"
            with disk_errors(path):
                try:
                    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
                except FileExistsError:
                    descriptor = None
                if descriptor is not None and _sign(descriptor, path, owner):
                    return cls(path, descriptor, owner)
            time.sleep(_PAUSE_S)  # another one was faster

    def check(self) -> None:
        """Make sure that no other process has taken the run over.

        Raises:
            LockError: one has.
        """
        held = _read(self._path)
        if held is None or held.token != self._owner.token:
            _, newest = _newest(self._path.parent)
            other = newest and _read(newest)
            raise LockError(
                f"this run was taken over by {other}" if other else "this run's lock was removed",
                where=self._path.parent,
                remedy="nothing: the other process goes on from the last checkpoint"
                if other
                else "run the same command again; it goes on from the last checkpoint",
            )

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Write in a block that another process's take-over keeps from beginning.

        Raises:
            LockError: there was one before the block, or it is why the block could not write.
        """
        self.check()
        try:
            yield
        except Exception:
            self.check()  # who takes over removes what others are writing
            raise

    def release(self) -> None:
        """Give the run back, if it is still this process's."""
        held = _read(self._path)
        if held is not None and held.token == self._owner.token:
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


def _refuse_if_held(path: Path, me: Owner) -> None:
    owner = _settled(path)
    if owner is None:  # killed while it wrote its name
        return
    if owner.job is not None and owner.job == me.job and owner.requeues < me.requeues:
        return
    same = owner.machine is not None and owner.machine == me.machine
    if _began(owner.process) == owner.began if same else _locked(path):
        raise LockError(
            f"another process is at work on this run: {owner}",
            where=path,
            remedy="wait until it ends, or end it; then run the same command again",
        )


def _sign(descriptor: int, path: Path, owner: Owner) -> bool:
    """Write the owner's name into its new file and remove older ones, unless there is a newer."""
    signed = False
    try:
        _lock(descriptor)
        os.write(descriptor, json.dumps(dataclasses.asdict(owner)).encode())
        os.fsync(descriptor)
        # A client of a network file system sees its own new file, and then what it had missed.
        if _newest(path.parent)[1] == path:
            for _, other in _owners(path.parent):
                if other != path:
                    other.unlink(missing_ok=True)
            signed = True
    finally:
        if not signed:
            path.unlink(missing_ok=True)
            os.close(descriptor)
    return signed


def _settled(path: Path) -> Owner | None:
    """The owner that a file names, or None if it stays without."""
    end = time.monotonic() + _WRITTEN_S
    while (owner := _read(path)) is None and path.exists() and time.monotonic() < end:
        time.sleep(_PAUSE_S)
    return owner


def _read(path: Path) -> Owner | None:
    try:
        return Owner(**json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        if error.errno not in _GONE:
            raise
    except (ValueError, TypeError):  # not all of it is written
        pass
    return None


def _owners(folder: Path) -> list[tuple[int, Path]]:
    return [
        (int(match[1]), path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))
    ]


def _newest(folder: Path) -> tuple[int, Path | None]:
    return max(_owners(folder), default=(0, None))


def _lock(descriptor: int) -> None:
    """Lock the file until this process and its children have ended, where there are locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise


def _locked(path: Path) -> bool:
    """Whether a process has a lock on a file that reaches here."""
    try:
        with path.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # it is gone, or there are no locks
        return False
    return False


def _machine() -> str | None:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return None


def _began(process: int) -> str | None:
    """When a process of this machine began, in clock ticks since boot; None if it is dead."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *numbers = text.rpartition(")")[2].split()
    return None if state in "ZX" else numbers[18]
