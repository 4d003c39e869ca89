"""An attempt at a run: it holds the run's lock, and records how it ended."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TypeVar

from naslora.core.errors import DiskError, LockError, NasloraError, RecordError, StoppedError
from naslora.core.files import remove_leftovers
from naslora.study.layout import Layout
from naslora.study.records import Attempt, read_attempt, write_document
from naslora.study.settings import RunSettings
from naslora.training.resume.locking import RunLock

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")
_RUNNING = "running, or killed before it could say why"


@contextmanager
def attempt(fabric: Fabric, layout: Layout, run: RunSettings) -> Iterator[OngoingAttempt | None]:
    """Hold a run's lock during the block, and record how the block ended.

    Yields:
        The attempt in the first process of the run, None in the others.

    Raises:
        LockError: another process is working on the run, or has taken it over. The other processes
            of a distributed run leave with `SystemExit`.
        DiskError: the folder cannot be written to.
    """
    ongoing = on_first_process(fabric, lambda: OngoingAttempt(layout, run))
    if ongoing is None:
        yield None
        return
    try:
        yield ongoing
    except LockError:
        raise  # the run is another process's now
    except (Exception, KeyboardInterrupt) as error:  # the latter after a second Ctrl-C
        ongoing.note_error(error)
        raise
    finally:
        ongoing.lock.release()


def on_first_process(fabric: Fabric, action: Callable[[], T]) -> T | None:
    """Do something only in the first process of a run; if it fails, the other processes exit.

    Returns:
        What the action returned; None in the other processes.

    Raises:
        NasloraError: the action's, in the first process.
        SystemExit: in the others. Its code is 0, or Fabric would kill the first process before it
            reports the error.
    """
    result: T | None = None
    failure: NasloraError | None = None
    if fabric.is_global_zero:
        try:
            result = action()
        except NasloraError as error:
            failure = error
    if fabric.broadcast(failure is not None):
        raise failure or SystemExit(0)
    return result


class OngoingAttempt:
    """The first process's hold on a run.

    Attributes:
        lock: the right to write into the run's folder.
        number: of this attempt, counted from 1 for each set of settings.
    """

    def __init__(self, layout: Layout, run: RunSettings):
        names = (run.task, run.variant, run.seed)
        self._path = layout.attempt(*names)
        self._fingerprint = run.fingerprint()
        self.lock = RunLock.acquire(layout.run(*names))
        try:
            remove_leftovers(layout.run(*names), alone=True)
            self.number = self._earlier() + 1
            self.note("interrupted", _RUNNING)
        except BaseException:
            self.lock.release()
            raise

    def note(self, status: Literal["failed", "interrupted"], message: str) -> None:
        """Write the state of the attempt to its file.

        Raises:
            LockError: the run is another process's now.
            DiskError: the file cannot be written.
        """
        with self.lock.guard():
            write_document(
                self._path,
                Attempt(
                    status=status,
                    message=message,
                    fingerprint=self._fingerprint,
                    attempts=self.number,
                ),
            )

    def note_error(self, error: Exception | KeyboardInterrupt) -> None:
        """Write the error that ended the attempt to its file, unless the run has its receipt."""
        if not self._path.is_file():
            return
        stopped = isinstance(error, (StoppedError, KeyboardInterrupt))
        if isinstance(error, KeyboardInterrupt):
            what = "interrupted at once by Ctrl-C"
        elif isinstance(error, NasloraError):
            what = error.what
        else:
            what = f"{type(error).__name__}: {error}"
        with contextlib.suppress(DiskError, LockError):  # the error itself is raised
            self.note("interrupted" if stopped else "failed", what)

    def ended(self) -> None:
        """Remove the attempt's file, since the run has its receipt."""
        self._path.unlink(missing_ok=True)

    def _earlier(self) -> int:
        """How many attempts there were with the same settings."""
        if not self._path.is_file():
            return 0
        try:
            earlier = read_attempt(self._path)
        except RecordError as error:
            print(f"{error}\n  attempts are counted from 1 again", flush=True)
            return 0
        return earlier.attempts if earlier.fingerprint == self._fingerprint else 0
