"""The result of one check."""

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
        group: the part of the study that it belongs to.
        name: what was checked.
        state: ok; note, for information; warning, the study runs, but results may not be as
            expected; problem, the study cannot run.
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
        """A problem, from an error."""
        return cls(group, name, "problem", error.what, error.remedy)


def short(path: Path) -> str:
    """A path for messages: relative, if it is below the current folder."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
