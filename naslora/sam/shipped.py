"""The weights that the package ships: small SAMs trained by `naslora pretrain`."""

from __future__ import annotations

import json
from pathlib import Path

from naslora.core.errors import CheckpointError
from naslora.core.files import sha256

WEIGHTS = Path(__file__).with_name("weights")


def shipped_backbones() -> list[str]:
    """The backbones with shipped weights."""
    return sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))


def shipped_checkpoint(backbone: str) -> Path:
    """Find the shipped weights of a backbone and compare them with their card.

    The weights are `<backbone>.safetensors`, in float16; loading them into a SAM makes them
    float32. The card beside them, `<backbone>.json`, says how they were trained, and has the hash
    of the file as "sha256".

    Raises:
        CheckpointError: there are none, or they do not have the hash on the card.
    """
    path = WEIGHTS / f"{backbone}.safetensors"
    if not path.is_file():
        known = ", ".join(shipped_backbones()) or "none"
        raise CheckpointError(
            f"no weights of {backbone} are shipped; there are: {known}",
            where=path,
            remedy="set sam.checkpoint to official, pretrained, random or a file",
        )
    expected = shipped_sha256(backbone)
    if (digest := sha256(path)) != expected:
        raise CheckpointError(
            f"the shipped weights of {backbone} are not those of their card: their SHA-256 is"
            f" {digest}, not {expected}",
            where=path,
            remedy="install naslora again",
        )
    return path


def shipped_sha256(backbone: str) -> str:
    """The hash of the shipped weights of a backbone, from their card.

    Raises:
        CheckpointError: there is no card, or it is damaged.
    """
    card = WEIGHTS / f"{backbone}.json"
    try:
        return str(json.loads(card.read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise CheckpointError(
            f"the card of the shipped weights of {backbone} cannot be read: {error!r}",
            where=card,
            remedy="install naslora again, or set sam.checkpoint to official, pretrained, random"
            " or a file",
        ) from None
