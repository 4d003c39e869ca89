"""Checkpoints in Meta's format: loading into a SAM, and saving."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from naslora.core.errors import CheckpointError
from naslora.core.files import whole_file
from naslora.core.wording import first_of
from naslora.sam.backbones import BACKBONES
from naslora.sam.building import CheckpointFile, Sam, build_sam
from naslora.sam.conversion import convert
from naslora.sam.formats import PATCHES
from naslora.sam.official import fetch_checkpoint, find_checkpoint
from naslora.sam.reading import read_weights, short

__all__ = ["fetch_checkpoint", "find_checkpoint", "load_checkpoint", "save_checkpoint"]

_BLOCK = re.compile(r"^image_encoder\.blocks\.(\d+)\.")


def load_checkpoint(sam: Sam, path: Path, official: Path | None = None) -> str:
    """Load weights into a SAM, whatever image size and decoder they were made for.

    See `naslora.sam.reading.read_weights` for the formats that are read, and
    `naslora.sam.conversion.convert` for how weights are made to fit.

    Args:
        sam: the model.
        path: the file.
        official: the folder of official checkpoints; a damaged file there can be fetched again.

    Returns:
        The SHA-256 of the file.

    Raises:
        CheckpointError: the file cannot be read, or does not hold weights of this backbone.
        ValueError: the SAM carries a method, whose weights would be overwritten.
    """
    if sam.adaptation is not None:
        raise ValueError(f"load a checkpoint before {sam.adaptation.method} is put on the SAM")
    state, digest = read_weights(path, official)
    load_weights(sam, state, path)
    sam.checkpoint = CheckpointFile(path.name, digest)
    return digest


def load_weights(sam: Sam, state: Mapping[str, Tensor], path: Path) -> None:
    """Load weights by Meta's names into a SAM of the same backbone.

    Args:
        sam: the model.
        state: the weights.
        path: the file that they are from, for messages.

    Raises:
        CheckpointError: they are not those of this backbone.
    """
    _check_backbone(state, sam, path)
    _check_shapes(state, sam, path)
    try:
        sam.load_state_dict(convert(state, sam), strict=True)
    except (LookupError, ArithmeticError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"the weights in {path.name} do not fit SAM {sam.backbone}: {short(error)}",
            where=path,
            remedy="use a checkpoint with all weights of a SAM and no others",
        ) from None


def save_checkpoint(sam: Sam, path: Path) -> None:
    """Write all weights under Meta's names; Meta's code reads them if the decoder is the original.

    Raises:
        ValueError: the model carries layers of a method, for which the format has no names.
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
    found, known = set(state), set(plain.state_dict())
    if found != known:
        extra, missing = sorted(found - known), sorted(known - found)
        what = f"has {first_of(extra)}" if extra else f"lacks {first_of(missing)}"
        raise ValueError(f"only a plain SAM can be saved as a checkpoint; this one {what}")
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with whole_file(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def _check_backbone(state: Mapping[str, Tensor], sam: Sam, path: Path) -> None:
    """Compare width, depth and patch size first, since they tell which backbone a file is of."""
    patches = state[PATCHES]
    blocks = {int(match[1]) for name in state if (match := _BLOCK.match(name))}
    if patches.ndim != 4 or not blocks:
        what = "no blocks" if patches.ndim == 4 else f"a {patches.ndim}-dimensional patch embedding"
        raise CheckpointError(
            f"{path.name} is damaged or not a SAM: its image encoder has {what}",
            where=path,
            remedy="use another checkpoint",
        )
    found = (patches.shape[0], max(blocks) + 1, patches.shape[-1])
    names = [n for n, b in BACKBONES.items() if (b.embed_dim, b.depth, b.patch_size) == found]
    if sam.backbone not in names:
        width, depth, patch = found
        what = f"an unknown backbone (width {width}, depth {depth}, patches of {patch} pixels)"
        raise CheckpointError(
            f"{path.name} is a checkpoint of {names[0] if names else what}, not of {sam.backbone}",
            where=path,
            remedy=f"set sam.backbone: {names[0]}, or use another checkpoint"
            if names
            else f"use a checkpoint of {sam.backbone}",
        )


def _check_shapes(state: Mapping[str, Tensor], sam: Sam, path: Path) -> None:
    """Compare the numbers of dimensions; sizes may differ where weights are made to fit."""
    own = sam.state_dict()
    for name, value in state.items():
        if name in own and value.ndim != own[name].ndim:
            raise CheckpointError(
                f"the weight {name} in {path.name} has shape {list(value.shape)}, and SAM"
                f" {sam.backbone} needs {list(own[name].shape)}",
                where=path,
                remedy="use another checkpoint",
            )
    unknown = [name for name in state if name not in own and not _is_replaced(name)]
    if unknown:
        raise CheckpointError(
            f"{path.name} holds weights that SAM {sam.backbone} does not have: {first_of(unknown)}",
            where=path,
            remedy="use a checkpoint of a SAM without layers of a method, or merge them first",
        )


def _is_replaced(name: str) -> bool:
    """Whether a weight may be left out: it belongs to the mask tokens or classes of another SAM."""
    return name.startswith(
        ("mask_decoder.output_hypernetworks_mlps.", "mask_decoder.class_prediction_head.")
    )
