"""Checkpoints of a run: files that hold its whole state, prove themselves, and come in twos.

A checkpoint is one safetensors file, so it is there whole or not at all. Its metadata holds all
that is not a tensor, as JSON, and the SHA-256 of that text and of all tensors.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from naslora.core.errors import CheckpointError
from naslora.core.files import canonical_json, fingerprint, write_bytes

SCHEMA_VERSION = 1
KEPT = 2
_NAME = re.compile(r"checkpoint-(?P<identity>[0-9a-f]{12})-(?P<steps>\d+)\.safetensors")


class Checkpoints:
    """The checkpoints of a run in its folder: the last, and the one before in case it is damaged.

    Args:
        folder: the run's.
        identity: all that a run's result depends on, as text by name. Checkpoints of other
            identities may lie in the folder too, and are not seen.
    """

    def __init__(self, folder: Path, identity: Mapping[str, str | None]):
        self._folder = folder
        self._identity = fingerprint({"schema_version": SCHEMA_VERSION, **identity})

    def save(self, steps: int, state: Mapping[str, Any]) -> None:
        """Write a checkpoint, then remove all but the last two.

        Args:
            steps: how many the run has made.
            state: nested dictionaries and lists of tensors and JSON values. Keys are texts or
                whole numbers.

        Raises:
            DiskError: it cannot be written; those before are still there.
        """
        tensors: dict[str, Tensor] = {}
        text = canonical_json({"identity": self._identity, "state": _pack(state, "", tensors)})
        metadata = {"naslora": text, "sha256": _digest(text, tensors)}
        path = self._folder / f"checkpoint-{self._identity[:12]}-{steps:09d}.safetensors"
        write_bytes(path, save(tensors, metadata))
        for _, old in self._own()[:-KEPT]:
            old.unlink(missing_ok=True)

    def load(self) -> dict[str, Any] | None:
        """Read the last checkpoint that is whole, and remove those after it.

        Says so where one is damaged, and where checkpoints of another identity are left aside.

        Returns:
            The state as it was saved, with tensors on the CPU; None where there is none.

        Raises:
            OSError: a file is there and cannot be read at the moment.
        """
        own = self._own()
        for _, path in reversed(own):
            try:
                return self._read(path)
            except CheckpointError as error:
                print(f"{error}\n  going on from the one before, or from the beginning", flush=True)
                path.unlink()
        if not own and any(_NAME.fullmatch(path.name) for path in self._folder.iterdir()):
            print(
                "the checkpoints that lie here are of other settings, images, weights or versions:"
                " this run begins anew",
                flush=True,
            )
        return None

    def remove(self) -> None:
        """Remove all checkpoints, whatever their identity, since the run has its result."""
        for path in self._folder.iterdir():
            if _NAME.fullmatch(path.name):
                path.unlink(missing_ok=True)

    def _own(self) -> list[tuple[int, Path]]:
        matches = ((_NAME.fullmatch(path.name), path) for path in self._folder.iterdir())
        return sorted(
            (int(match["steps"]), path)
            for match, path in matches
            if match and match["identity"] == self._identity[:12]
        )

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                # Copies, since the file may be removed while they are in use.
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            text = metadata["naslora"]
            whole = metadata["sha256"] == _digest(text, tensors)
            content = json.loads(text) if whole else {}
        except (SafetensorError, KeyError, ValueError) as error:
            raise CheckpointError(f"this checkpoint is damaged: {error}", where=path) from None
        if not whole:
            raise CheckpointError("this checkpoint is damaged: its SHA-256 differs", where=path)
        if content["identity"] != self._identity:
            raise CheckpointError("this checkpoint is of another run", where=path)
        state: dict[str, Any] = _unpack(content["state"], tensors)
        return state


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _pack(value: Any, at: str, tensors: dict[str, Tensor]) -> Any:
    """Turn a state into JSON, and put its tensors into `tensors` by their place."""
    if isinstance(value, Tensor):
        tensors[at] = value.detach().cpu().contiguous()
        return {"tensor": at}
    if isinstance(value, Mapping):
        return {
            "items": [[key, _pack(item, f"{at}/{key}", tensors)] for key, item in value.items()]
        }
    if isinstance(value, (list, tuple)):
        return [_pack(item, f"{at}/{index}", tensors) for index, item in enumerate(value)]
    return value


def _unpack(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpack(item, tensors) for item in value]
    if isinstance(value, dict) and "tensor" in value:
        return tensors[value["tensor"]]
    if isinstance(value, dict):
        return {key: _unpack(item, tensors) for key, item in value["items"]}
    return value
