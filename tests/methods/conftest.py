"""A tiny SAM, plain or adapted, with weights that a fixed seed draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from naslora.methods.registry import adapt, trainable_parameters
from naslora.sam.building import Sam, build_sam

# 9 x 7 tokens: not square, and no multiple of the tiny SAM's windows of 4 x 4.
ODD_SIZE = (144, 112)


@pytest.fixture
def plain() -> Callable[..., Sam]:
    """Build a tiny SAM, with all of its blocks or `depth`; equal arguments give equal weights."""

    def build(
        size: tuple[int, int] = ODD_SIZE, seed: int = 0, depth: int | None = None, **values: Any
    ) -> Sam:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            sam = build_sam(values.pop("backbone", "tiny"), size, **values)
            sam.image_encoder.blocks = sam.image_encoder.blocks[:depth]
            with torch.no_grad():
                # Zero at the start, and then nothing would depend on them.
                for block in sam.image_encoder.blocks:
                    block.attn.rel_pos_h.normal_(std=0.1)
                    block.attn.rel_pos_w.normal_(std=0.1)
        return sam.eval()

    return build


@pytest.fixture
def adapted(plain: Callable[..., Sam]) -> Callable[..., Sam]:
    """Build an adapted tiny SAM whose trained weights have moved from where they start."""

    def build(
        method: str, settings: Mapping[str, Any] | None = None, move: float = 0.05, **values: Any
    ) -> Sam:
        sam = plain(**values)
        adapt(sam, method, settings, seed=1)
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for parameter in trainable_parameters(sam).values():
                parameter += move * torch.randn(parameter.shape, generator=generator)
        return sam.eval()

    return build


@pytest.fixture
def images() -> Callable[..., Tensor]:
    """Draw images (B, 3, H, W) in 0..255."""

    def draw(batch: int = 1, size: tuple[int, int] = ODD_SIZE, seed: int = 7) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(0, 256, (batch, 3, *size), generator=generator, dtype=torch.uint8)

    return draw
