"""One process at a time on a run.

The process that works on a run holds a lock until it ends, and its token is in the file
`owner.json` of the run's folder. Before each rename of a file into that folder, it checks that the
token is still its own.

On file systems with locks, the lock keeps other processes away; on network file systems, those of
other machines too. On a network file system without locks, a second process cannot see that the
first one still runs: it takes the run over by writing its own token, and the first one stops at its
next check. Between the check and the rename, the first may still replace a file by its own. That
file is complete and of the same run, and the second process later replaces it.
"""

from __future__ import annotations

import os
import platform
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ValidationError

from naslora.core.errors import LockError
from naslora.core.files import disk_errors, write_text
from naslora.core.locking import Lock

_LOCK = "run.lock"
_OWNER = "owner.json"
# SLURM kills a job half a minute after its signal; locks of a dead node last a minute and a half.
_REQUEUED_S = 120.0


class Owner(BaseModel):
    """The process that works on a run.

    Attributes:
        token: unique to the process.
        host: the machine's name.
        process: the process's number there.
        since: date and time at which it acquired the run.
        job: number of its SLURM job, if any.
    """

    token: str
    host: str
    process: int
    since: str
    job: str | None

    @classmethod
    def here(cls) -> Owner:
        return cls(
            token=secrets.token_hex(8),
            host=platform.node(),
            process=os.getpid(),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            job=os.environ.get("SLURM_JOB_ID"),
        )

    def __str__(self) -> str:
        job = f", SLURM job {self.job}" if self.job else ""
        return f"process {self.process} on {self.host}{job}, since {self.since}"


class RunLock:
    """The right to write into a run's folder; see `acquire`."""

    def __init__(self, folder: Path, lock: Lock, owner: Owner):
        self._folder = folder
        self._lock = lock
        self._owner = owner

    @classmethod
    def acquire(cls, folder: Path) -> RunLock:
        """Acquire a run that no living process holds.

        A requeued SLURM job waits a while for its first incarnation, which SLURM has told to end.

        Raises:
            LockError: a living process holds it.
            DiskError: the folder cannot be written to.
        """
        owner, other = Owner.here(), _read(folder)
        same_job = other is not None and other.job is not None and other.job == owner.job
        with disk_errors(folder / _LOCK):
            folder.mkdir(parents=True, exist_ok=True)
            lock = Lock(folder / _LOCK)
            if not lock.acquire(_REQUEUED_S if same_job else 0):
                raise LockError(
                    f"another process is working on this run: {_read(folder) or 'unknown process'}",
                    where=folder,
                    remedy="wait until it ends, or end it; then run the same command again",
                )
        try:
            write_text(folder / _OWNER, owner.model_dump_json())
        except BaseException:
            lock.release()
            raise
        return cls(folder, lock, owner)

    def check(self) -> None:
        """Make sure that the run is still this process's.

        Raises:
            LockError: another process has taken it over, or its folder was deleted.
        """
        if self._is_mine():
            return
        if other := _read(self._folder):
            raise LockError(
                f"this run was taken over by {other}",
                where=self._folder,
                remedy="nothing to do: the other process continues from the last checkpoint",
            )
        raise LockError(
            "the folder of this run was deleted or emptied during the run",
            where=self._folder,
            remedy="run the same command again",
        )

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Check that the run is this process's before a block that writes to its folder.

        Raises:
            LockError: it is not, or it no longer was when the block failed.
        """
        self.check()
        try:
            yield
        except Exception:
            self.check()  # a process that takes over removes temporary files
            raise

    def release(self) -> None:
        """Release the run, if it is still this process's."""
        if self._is_mine():
            (self._folder / _OWNER).unlink(missing_ok=True)
        self._lock.release()

    def _is_mine(self) -> bool:
        owner = _read(self._folder)
        return owner is not None and owner.token == self._owner.token


def _read(folder: Path) -> Owner | None:
    try:
        return Owner.model_validate_json((folder / _OWNER).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None
