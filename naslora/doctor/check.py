"""What a check of the doctor says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from naslora.core.errors import NasloraError

State = Literal["ok", "note", "warning", "problem"]


@dataclass(frozen=True)
class Check:
    """One line of the doctor's table.

    Attributes:
        group: what part of the study it belongs to.
        name: what was looked at.
        state: ok; note, of no consequence; warning, the study runs, but a person should know;
            problem, the study cannot run.
        finding: what was found.
        remedy: what to do about it.
    """

    group: str
    name: str
    state: State
    finding: str
    remedy: str | None = None

    @classmethod
    def of(cls, group: str, name: str, error: NasloraError) -> Check:
        """The problem that an error describes."""
        return cls(group, name, "problem", error.what, error.remedy)


def short(path: Path) -> str:
    """A path as it is most easily read: relative to here, if it lies here."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
