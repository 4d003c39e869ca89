"""Recognise the weights that an adapter was trained on by their hash."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

import torch

from naslora.core.errors import StateError
from naslora.methods.adapter_file import BaseWeights
from naslora.sam.building import Sam
from naslora.sam.fingerprint import weights_sha256

# A SAM that was rounded to one of these dtypes still counts as the same SAM.
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def describe_base(sam: Sam, trained: Container[str]) -> BaseWeights:
    """Describe the weights of a SAM that no method changes.

    The hash covers all of them except position embeddings, which are interpolated to the image size
    and then differ in the last digits from machine to machine.

    Args:
        sam: plain or adapted.
        trained: names in the state dict of an adapted SAM that the method adds or changes.
    """
    left_out = _left_out(sam, trained)
    file = sam.checkpoint
    return BaseWeights(
        file=file.name if file else None,
        file_sha256=file.sha256 if file else None,
        weights_sha256={
            _key(dtype): weights_sha256(sam, exclude=left_out, dtype=dtype) for dtype in _DTYPES
        },
    )


def check_base(sam: Sam, base: BaseWeights, trained: Container[str], path: Path) -> None:
    """Check that a SAM has the weights that an adapter was trained on.

    Args:
        sam: plain or adapted.
        base: what the adapter file says about them.
        trained: names of the tensors in the adapter file.
        path: the adapter file, for the message.

    Raises:
        StateError: it has other weights.
    """
    dtype = next(sam.parameters()).dtype
    dtype = torch.float32 if dtype == torch.float64 else dtype
    found = weights_sha256(sam, exclude=_left_out(sam, trained), dtype=dtype)
    if base.weights_sha256.get(_key(dtype)) == found:
        return
    has = f" (which are those of {sam.checkpoint.name})" if sam.checkpoint else ""
    file = f"{base.file}, SHA-256 {(base.file_sha256 or '')[:12]}…" if base.file else None
    raise StateError(
        f"this adapter was trained on weights that differ from the model's{has}",
        where=path,
        remedy=f"load {file} into the SAM first"
        if file
        else "load the weights that it was trained on into the SAM first",
    )


def _left_out(sam: Sam, trained: Container[str]) -> set[str]:
    return {
        name
        for name in sam.state_dict()
        if name in trained or name == "image_encoder.pos_embed" or ".attn.rel_pos_" in name
    }


def _key(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
