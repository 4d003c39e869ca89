"""Checkpoints of a run: files with its whole state, written by `torch.save`.

A file is written under a temporary name and renamed, so it is never incomplete. Its name holds the
first digits of its SHA-256: a damaged file is recognised, and the previous one is read.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from naslora.core.errors import CheckpointError
from naslora.core.files import fingerprint, sha256, whole_file

SCHEMA_VERSION = 2
KEPT = 2
_DIGITS = 16
_NAME = re.compile(
    r"checkpoint-(?P<identity>[0-9a-f]{12})-(?P<steps>\d+)-(?P<sha256>[0-9a-f]{16})\.pt"
)


@dataclass(frozen=True)
class _File:
    path: Path
    steps: int
    sha256: str


class Checkpoints:
    """The checkpoints of a run in its folder: the last, and the one before in case it is damaged.

    Args:
        folder: the run's.
        identity: everything that the run's result depends on, as text by name. Checkpoints in the
            folder that have another identity are left alone.
        log: called with messages about damaged checkpoints and those of other identities.
    """

    def __init__(
        self,
        folder: Path,
        identity: Mapping[str, str | None],
        log: Callable[[str], None] = print,
    ):
        self._folder = folder
        self._identity = fingerprint({"schema_version": SCHEMA_VERSION, **identity})
        self._log = log

    def save(self, steps: int, state: Mapping[str, Any]) -> None:
        """Write a checkpoint, then remove all but the last two.

        Args:
            steps: number of steps that the run has made.
            state: nested containers of tensors, numbers and texts, as
                `torch.load(weights_only=True)` reads them.

        Raises:
            DiskError: it cannot be written; earlier ones are kept.
        """
        buffer = io.BytesIO()
        torch.save({"identity": self._identity, "state": dict(state)}, buffer)
        data = buffer.getbuffer()
        digest = hashlib.sha256(data).hexdigest()[:_DIGITS]
        name = f"checkpoint-{self._identity[:12]}-{steps:09d}-{digest}.pt"
        with whole_file(self._folder / name) as temporary:
            temporary.write_bytes(data)
        for old in self._own()[:-KEPT]:
            old.path.unlink(missing_ok=True)

    def load(self) -> dict[str, Any] | None:
        """Read the last intact checkpoint, and remove damaged ones after it.

        Returns:
            The state as it was saved, with tensors on the CPU; None if there are no checkpoints.

        Raises:
            OSError: a file exists, but cannot be read at the moment.
        """
        own = self._own()
        for file in reversed(own):
            try:
                return self._read(file)
            except CheckpointError as error:
                self._log(f"{error}\n  resuming from the previous one, or from the beginning")
                file.path.unlink()
        if not own and any(_NAME.fullmatch(path.name) for path in self._folder.iterdir()):
            self._log(
                "the checkpoints in this folder are of other settings, images, weights or"
                " versions: the run restarts"
            )
        return None

    def remove(self) -> None:
        """Remove all checkpoints, whatever their identity, since the run has its result."""
        for path in self._folder.iterdir():
            if _NAME.fullmatch(path.name):
                path.unlink(missing_ok=True)

    def _own(self) -> list[_File]:
        matches = ((_NAME.fullmatch(path.name), path) for path in self._folder.iterdir())
        files = [
            _File(path, int(match["steps"]), match["sha256"])
            for match, path in matches
            if match and match["identity"] == self._identity[:12]
        ]
        return sorted(files, key=lambda file: file.steps)

    def _read(self, file: _File) -> dict[str, Any]:
        if sha256(file.path)[:_DIGITS] != file.sha256:
            raise CheckpointError(
                "this checkpoint is damaged: its SHA-256 differs", where=file.path
            )
        content = torch.load(file.path, map_location="cpu", weights_only=True)
        if content["identity"] != self._identity:
            raise CheckpointError("this checkpoint is of another run", where=file.path)
        state: dict[str, Any] = content["state"]
        return state
