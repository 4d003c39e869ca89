"""Reading files of weights, with a message for each kind of unusable file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from naslora.core.errors import CheckpointError
from naslora.core.files import sha256
from naslora.core.wording import first_of
from naslora.sam.file_head import check_file_head
from naslora.sam.formats import State, weights_of
from naslora.sam.official import check_hash, other_file

_FORMATS = (
    "use a checkpoint with Meta's names of weights, or those of HF transformers' SamModel, saved "
    "by torch.save or as safetensors"
)


def read_weights(path: Path, official: Path | None = None) -> tuple[State, str]:
    """Read the weights of a SAM from a file that torch or safetensors wrote.

    See `naslora.sam.formats` for the layouts and names that are understood. Weights that are no
    part of a SAM, such as SAM-HQ's additions, are left out with a warning.

    Args:
        path: the file.
        official: the folder of official checkpoints; a damaged file there can be fetched again.

    Returns:
        The weights by Meta's names, and the SHA-256 of the file.

    Raises:
        CheckpointError: the file is missing, a web page, truncated or damaged, has an official name
            but another hash, holds no SAM, or holds weights that are not finite floating-point
            numbers.
    """
    try:
        content, digest = _read(path, official)
    except OSError as error:
        raise CheckpointError(
            f"{path.name} cannot be read: {error.strerror or error}", where=path
        ) from None
    weights = weights_of(content)
    if weights is None:
        raise CheckpointError(
            f"{path.name} holds no SAM: {_what(content)}", where=path, remedy=_FORMATS
        )
    for name, value in weights.state.items():
        check_weight(name, value, path)
    if weights.high_quality:
        warnings.warn(
            f"{path.name} is a checkpoint of SAM-HQ: the {len(weights.high_quality)} weights of its"
            " high-quality token and its fusion of features are not used, so masks are those of"
            " the SAM decoder in it",
            stacklevel=2,
        )
    if weights.others:
        warnings.warn(
            f"{path.name} holds {len(weights.others)} weights that are not a SAM's and are not"
            f" used: {first_of(weights.others)}",
            stacklevel=2,
        )
    return weights.state, digest


def check_weight(name: str, value: Tensor, path: Path | None = None) -> None:
    """Check that a weight consists of finite floating-point numbers.

    Args:
        name: its name, for the message.
        value: the weight.
        path: the file that it is from, if any.

    Raises:
        CheckpointError: it does not.
    """
    if value.layout != torch.strided or value.is_meta or value.is_quantized:
        what = "has no values" if value.is_meta else "is sparse or quantized"
        remedy = "save plain, dense tensors"
    elif not value.is_floating_point():
        what = f"is of type {str(value.dtype).removeprefix('torch.')}, not floating-point numbers"
        remedy = "save the weights in float32, float16 or bfloat16"
    elif not bool(value.float().isfinite().all()):
        what = "holds values that are not finite in float32"
        remedy = "use weights of a training that did not diverge"
    else:
        return
    raise CheckpointError(f"the weight {name} {what}", where=path, remedy=remedy)


def short(error: BaseException) -> str:
    """The first two lines of an error's text; errors of state dicts list every name."""
    return " ".join(line.strip() for line in str(error).splitlines()[:2])[:300]


def _read(path: Path, official: Path | None) -> tuple[Any, str]:
    if not path.is_file():
        raise CheckpointError(
            f"checkpoint not found: {path.name}",
            where=path,
            remedy="correct the path, run the pretraining that writes the file, or fetch Meta's: "
            "naslora fetch --backbone vit_b",
        )
    kind = check_file_head(path, official)
    digest = sha256(path)
    check_hash(path, digest, official)
    try:
        if kind == "safetensors":
            return load_file(path), digest
        return torch.load(path, map_location="cpu", weights_only=True, mmap=kind == "zip"), digest
    except OSError:
        raise
    except Exception:  # reading damaged bytes can raise anything
        # The original message is not shown: it advises to run code that the file may hold.
        raise CheckpointError(
            f"{path.name} cannot be read as a checkpoint: it is damaged, or holds objects other"
            " than tensors",
            where=path,
            remedy=other_file(path, official),
        ) from None


def _what(content: Any) -> str:
    if isinstance(content, dict) and content:
        names = [str(name) for name in content]
        return f"it has no image encoder by the names of Meta or HF, but {first_of(names)}"
    return f"it is a {type(content).__name__}, not a dict of weights"
