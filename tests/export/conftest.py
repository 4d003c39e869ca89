"""Tiny SAMs with a method whose weights have moved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from naslora.methods.registry import adapt, trainable_parameters
from naslora.sam.building import Sam, build_sam

SIZE = (64, 96)


@pytest.fixture
def plain() -> Callable[..., Sam]:
    """Build a SAM, with all of its blocks or the first `depth`."""

    def build(
        seed: int = 0, size: tuple[int, int] = SIZE, depth: int | None = None, **values: Any
    ) -> Sam:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            sam = build_sam("tiny", size, **values)
            sam.image_encoder.blocks = sam.image_encoder.blocks[:depth]
            with torch.no_grad():
                for block in sam.image_encoder.blocks:
                    block.attn.rel_pos_h.normal_(std=0.1)
                    block.attn.rel_pos_w.normal_(std=0.1)
        return sam.eval()

    return build


@pytest.fixture
def adapted(plain: Callable[..., Sam]) -> Callable[..., Sam]:
    """Build one with a method on it, trained by noise."""

    def build(method: str, settings: Mapping[str, Any] | None = None, **values: Any) -> Sam:
        sam = plain(**values)
        adapt(sam, method, settings, seed=1)
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for parameter in trainable_parameters(sam).values():
                parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
        return sam.eval()

    return build


@pytest.fixture
def batch() -> Tensor:
    """Two images (2, 3, 64, 96) in 0..255."""
    generator = torch.Generator().manual_seed(7)
    return torch.randint(0, 256, (2, 3, *SIZE), generator=generator, dtype=torch.uint8)
