"""The first bytes of a file: whether it can be a checkpoint, told without importing torch."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

from naslora.core.download import looks_like_html
from naslora.core.errors import CheckpointError
from naslora.sam.official import other_file

Kind = Literal["safetensors", "zip", "pickle"]
_ZIP = b"PK\x03\x04"
# The number at the start of files of torch.save before they became zip archives.
_OLD_TORCH = bytes.fromhex("6cfc9c46f9206aa85019")


def check_file_head(path: Path, official: Path | None = None) -> Kind:
    """Look at the beginning of a checkpoint, and at the list of files if it is a zip archive.

    Args:
        path: an existing file.
        official: the folder of official checkpoints, for the message.

    Returns:
        Its format: safetensors, a file of torch.save, or one of torch.save before torch 1.6.

    Raises:
        CheckpointError: it is a web page, truncated, or in none of these formats.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(512)
    size = path.stat().st_size
    if looks_like_html(head):
        what = "is a web page saved under the name of a checkpoint"
    elif not head or (head.startswith(_ZIP) and not zipfile.is_zipfile(path)):
        what = f"is truncated: it ends after {size} bytes"
    elif head.startswith(_ZIP) and _holds_tensors(path):
        return "zip"
    elif head.startswith(b"\x80") and _OLD_TORCH in head[:32]:
        return "pickle"
    elif head[8:9] == b"{" and int.from_bytes(head[:8], "little") < size:
        return "safetensors"  # the length of a JSON header, then the header
    else:
        what = "is no checkpoint: it is neither a file of torch.save nor of safetensors"
    raise CheckpointError(f"{path.name} {what}", where=path, remedy=other_file(path, official))


def _holds_tensors(path: Path) -> bool:
    """Whether a zip archive was written by torch.save; True if its list of files is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(Path(name).name == "data.pkl" for name in archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return True
