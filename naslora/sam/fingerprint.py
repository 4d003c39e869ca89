"""A hash of a model's weights, to recognise the model that an adapter was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Container

import torch
from torch import nn


def weights_sha256(
    module: nn.Module, *, exclude: Container[str] = (), dtype: torch.dtype = torch.float32
) -> str:
    """SHA-256 over all weights of a module, independent of the file that they were read from.

    It covers the entries of the state dict, sorted by name: name, shape and values. Floating-point
    values are converted to `dtype` first, so that the same weights in float16, bfloat16, float32
    or, rounded, in float64 have the same hash. Weights that were rounded to bfloat16 differ from
    the float32 weights that they come from: compare both with `dtype=torch.bfloat16`.

    Args:
        module: for example a SAM.
        exclude: names in its state dict that are left out, for example those that training
            changes.
        dtype: what floating-point values are converted to.

    Returns:
        64 hexadecimal digits.

    Raises:
        ValueError: a weight is on the meta device and has no values.
    """
    digest = hashlib.sha256(f"{dtype}\n".encode())
    for name, value in sorted(module.state_dict().items()):
        if name in exclude:
            continue
        if value.is_meta:
            raise ValueError(f"{name} is on the meta device and has no values to hash")
        value = value.detach().to("cpu", dtype if value.is_floating_point() else value.dtype)
        digest.update(f"{name} {list(value.shape)}\n".encode())
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
