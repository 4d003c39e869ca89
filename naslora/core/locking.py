"""Locks between processes, by filelock: on all systems, and across machines where the file system
shares locks.

A lock belongs to the process, not to its children, and is released when the process ends, even if
it is killed.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout, UnixFileLock

_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP)
# Callers report missing locks themselves; filelock would log every attempt.
logging.getLogger("filelock").setLevel(logging.WARNING)


class Lock:
    """A lock file. On file systems without locks, as some clusters have, every process gets the
    lock.

    Args:
        path: the file. Its folder is created; the file is removed when the lock is released.
    """

    def __init__(self, path: Path):
        self._path = path
        self._lock = FileLock(path, thread_local=False)

    def acquire(self, seconds: float | None = None) -> bool:
        """Take the lock.

        Args:
            seconds: how long to wait for another process to release it; None for no limit.

        Returns:
            Whether it is held now.

        Raises:
            OSError: the file cannot be written.
        """
        try:
            self._lock.acquire(timeout=-1 if seconds is None else seconds)
        except Timeout:
            return False
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        return True

    def release(self) -> None:
        """Release the lock."""
        if isinstance(self._lock, UnixFileLock):
            # Removed while locked, so that no other process holds it; a waiting process notices
            # that it is gone.
            self._path.unlink(missing_ok=True)
        self._lock.release()


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Let one process and thread at a time into the block for a file or folder; the others wait.

    Args:
        path: what is worked on; the lock is `.<name>.lock` beside it.
    """
    lock = Lock(path.with_name(f".{path.name}.lock"))
    lock.acquire()
    try:
        yield
    finally:
        lock.release()
