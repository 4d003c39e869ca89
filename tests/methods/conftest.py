"""A tiny SAM, plain or adapted, with weights that a fixed seed draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from naslora.sam.building import Sam
from tests.sams import adapted_sam, plain_sam

# 9 x 7 tokens: not square, and no multiple of the tiny SAM's windows of 4 x 4.
ODD_SIZE = (144, 112)


@pytest.fixture
def plain() -> Callable[..., Sam]:
    """Build a tiny SAM; equal arguments give equal weights."""

    def build(size: tuple[int, int] = ODD_SIZE, seed: int = 0, **values: Any) -> Sam:
        return plain_sam(size, seed, **values)

    return build


@pytest.fixture
def adapted(plain: Callable[..., Sam]) -> Callable[..., Sam]:
    """Build an adapted tiny SAM whose trained weights have moved from where they start."""

    def build(
        method: str, settings: Mapping[str, Any] | None = None, move: float = 0.05, **values: Any
    ) -> Sam:
        return adapted_sam(plain(**values), method, settings, move)

    return build


@pytest.fixture
def images() -> Callable[..., Tensor]:
    """Draw images (B, 3, H, W) in 0..255."""

    def draw(batch: int = 1, size: tuple[int, int] = ODD_SIZE, seed: int = 7) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(0, 256, (batch, 3, *size), generator=generator, dtype=torch.uint8)

    return draw
