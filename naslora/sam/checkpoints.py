"""Checkpoints in Meta's format: reading with every failure named, and writing."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from naslora.core.download import looks_like_html
from naslora.core.errors import CheckpointError
from naslora.core.files import sha256, whole_file
from naslora.sam.backbones import BACKBONES
from naslora.sam.building import Sam, build_sam
from naslora.sam.conversion import convert
from naslora.sam.official import (
    check_hash,
    fetch_checkpoint,
    find_checkpoint,
)

__all__ = [
    "fetch_checkpoint",
    "find_checkpoint",
    "load_checkpoint",
    "save_checkpoint",
]

_FETCH = "delete it and fetch it again (`naslora fetch` for Meta's files)"
_BLOCK = re.compile(r"^image_encoder\.blocks\.(\d+)\.")


def load_checkpoint(sam: Sam, path: Path) -> str:
    """Load weights into a SAM, whatever image size and decoder they were made for.

    See `naslora.sam.conversion.convert` for how they are made to fit.

    Returns:
        The SHA-256 of the file.

    Raises:
        CheckpointError: the file is missing, a web page, truncated or damaged, has not the hash in
            its official name, or holds something else than weights of this backbone.
        ValueError: a method is on the SAM already, whose weights would be overwritten.
    """
    if sam.adaptation is not None:
        raise ValueError(f"load a checkpoint before {sam.adaptation.method} is put on the SAM")
    state, digest = _read(path)
    _check_backbone(state, sam, path)
    try:
        sam.load_state_dict(convert(state, sam), strict=True)
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(
            f"the weights in {path.name} do not fit SAM {sam.backbone}: {_short(error)}",
            where=path,
            remedy="use a checkpoint in the format of Meta's SAM",
        ) from None
    return digest


def save_checkpoint(sam: Sam, path: Path) -> None:
    """Write all weights under Meta's names; Meta's code reads them if the decoder is the original.

    Raises:
        ValueError: the model carries layers of a method, which the format has no names for.
        DiskError: the file cannot be written.
    """
    state = {name: value.detach().cpu() for name, value in sam.state_dict().items()}
    with torch.device("meta"):
        plain = build_sam(
            sam.backbone,
            sam.image_size,
            classes=sam.classes,
            mask_tokens=sam.mask_decoder.mask_tokens.num_embeddings,
            hypernetworks=sam.mask_decoder.hypernetworks,
            decoder=sam.decoder,
        )
    if extra := sorted(set(state) ^ set(plain.state_dict())):
        raise ValueError(f"only a plain SAM can be saved as a checkpoint; this one has {extra[0]}")
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with whole_file(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def _read(path: Path) -> tuple[dict[str, Tensor], str]:
    if not path.is_file():
        raise CheckpointError(
            f"checkpoint not found: {path.name}",
            where=path,
            remedy="correct the path, run the pretraining that writes the file, or fetch Meta's: "
            "naslora fetch --backbone vit_b",
        )
    with path.open("rb") as file:
        head = file.read(512)
    if looks_like_html(head):
        raise CheckpointError(
            f"{path.name} is a web page saved under the name of a checkpoint",
            where=path,
            remedy=_FETCH,
        )
    archive = zipfile.is_zipfile(path)
    if not head or (head.startswith(b"PK\x03\x04") and not archive):
        raise CheckpointError(
            f"{path.name} is truncated: it ends after {path.stat().st_size} bytes",
            where=path,
            remedy=_FETCH,
        )
    digest = sha256(path)
    check_hash(path, digest)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # unpickling damaged bytes can raise anything
        raise CheckpointError(
            f"{path.name} cannot be read as a checkpoint: {_short(error)}",
            where=path,
            remedy=_FETCH,
        ) from None
    return _tensors(content, path), digest


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    if isinstance(content, Mapping) and all(isinstance(v, Tensor) for v in content.values()):
        return {str(name): value for name, value in content.items()}
    raise CheckpointError(
        f"{path.name} holds no state dict, but a {type(content).__name__} of other things",
        where=path,
        remedy="save the model's state dict alone, with Meta's names",
    )


def _check_backbone(state: Mapping[str, Tensor], sam: Sam, path: Path) -> None:
    """Compare width and depth before anything else, since they say what the file is."""
    patch = state.get("image_encoder.patch_embed.proj.weight")
    blocks = {int(match[1]) for name in state if (match := _BLOCK.match(name))}
    if patch is None or not blocks:
        raise CheckpointError(
            f"{path.name} holds no SAM: it has no image encoder by Meta's names",
            where=path,
            remedy="use a checkpoint in the format of Meta's SAM",
        )
    found = (patch.shape[0], max(blocks) + 1)
    wanted = BACKBONES[sam.backbone]
    if found != (wanted.embed_dim, wanted.depth):
        names = [n for n, b in BACKBONES.items() if (b.embed_dim, b.depth) == found]
        what = names[0] if names else f"an unknown backbone (width {found[0]}, depth {found[1]})"
        raise CheckpointError(
            f"{path.name} is a checkpoint of {what}, not of {sam.backbone}",
            where=path,
            remedy=f"set sam.backbone: {names[0]}, or use another checkpoint"
            if names
            else f"use a checkpoint of {sam.backbone}",
        )


def _short(error: Exception) -> str:
    """The first two lines of an error's text; state dict errors list every name."""
    return " ".join(line.strip() for line in str(error).splitlines()[:2])[:300]
