"""Tiny SAMs with weights from a fixed seed, plain or adapted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from naslora.methods.registry import adapt, trainable_parameters
from naslora.sam.building import Sam, build_sam


def plain_sam(
    size: tuple[int, int],
    seed: int = 0,
    depth: int | None = None,
    backbone: str = "tiny",
    **values: Any,
) -> Sam:
    """Build a SAM, with all of its blocks or the first `depth`, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sam = build_sam(backbone, size, **values)
        sam.image_encoder.blocks = sam.image_encoder.blocks[:depth]
        with torch.no_grad():
            # They are initialised with zeros, and nothing would depend on them.
            for block in sam.image_encoder.blocks:
                block.attn.rel_pos_h.normal_(std=0.1)
                block.attn.rel_pos_w.normal_(std=0.1)
    return sam.eval()


def adapted_sam(
    sam: Sam, method: str, settings: Mapping[str, Any] | None = None, move: float = 0.05
) -> Sam:
    """Adapt a SAM, and add noise of deviation `move` to its trained weights."""
    adapt(sam, method, settings, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in trainable_parameters(sam).values():
            parameter += move * torch.randn(parameter.shape, generator=generator)
    return sam.eval()
