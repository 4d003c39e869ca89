"""Errors that users can act on: what is wrong, where, and what to do about it."""

from __future__ import annotations

from pathlib import Path

TRY_AGAIN = 75  # sysexits.h calls it EX_TEMPFAIL


class NasloraError(Exception):
    """A problem with the user's input or machine, never with the code itself.

    Args:
        what: what is wrong, in one sentence.
        where: the file or folder concerned; shown as an absolute path.
        remedy: what the user can do.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: Path | str | None = None, remedy: str | None = None):
        self.what = what
        self.where = Path(where).absolute() if where is not None else None
        self.remedy = remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        lines = [self.what]
        if self.where is not None:
            lines.append(f"  where: {self.where}")
        if self.remedy is not None:
            lines.append(f"  what to do: {self.remedy}")
        return "\n".join(lines)


class SettingsError(NasloraError):
    """A setting is unknown, of the wrong type or out of range."""


class ArchiveError(NasloraError):
    """An archive is missing, damaged, not what it claims to be, or unsafe to unpack."""


class AuditError(NasloraError):
    """Images and masks do not form a usable data set, or the file of their audit is damaged."""


class ManifestError(NasloraError):
    """A manifest does not match the files that it describes."""


class CheckpointError(NasloraError):
    """A SAM checkpoint is missing, damaged or of another architecture."""


class StateError(NasloraError):
    """Saved adapter weights do not fit the model that they are loaded into."""


class RecordError(NasloraError):
    """A record is damaged, of an unknown version, or contradicts itself."""


class DiskError(NasloraError):
    """A file could not be written, or not be read: disk full, no permission, missing."""


class DivergedError(NasloraError):
    """Training produced a loss that is not finite."""

    exit_code = 3


class LockError(NasloraError):
    """Another process is at work on the same run."""

    exit_code = TRY_AGAIN


class StoppedError(NasloraError):
    """Training was stopped before its end; the same command continues it."""

    exit_code = TRY_AGAIN


class WorkflowError(NasloraError):
    """A workflow ended before all of its jobs were done."""
