"""Tiny SAMs with a method whose weights have moved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from naslora.sam.building import Sam
from tests.sams import adapted_sam, plain_sam

SIZE = (64, 96)


@pytest.fixture
def plain() -> Callable[..., Sam]:
    """Build a tiny SAM; equal arguments give equal weights."""

    def build(seed: int = 0, size: tuple[int, int] = SIZE, **values: Any) -> Sam:
        return plain_sam(size, seed, **values)

    return build


@pytest.fixture
def adapted(plain: Callable[..., Sam]) -> Callable[..., Sam]:
    """Build an adapted tiny SAM whose trained weights differ from their initial values."""

    def build(method: str, settings: Mapping[str, Any] | None = None, **values: Any) -> Sam:
        return adapted_sam(plain(**values), method, settings)

    return build


@pytest.fixture
def batch() -> Tensor:
    """Two images (2, 3, 64, 96) in 0..255."""
    generator = torch.Generator().manual_seed(7)
    return torch.randint(0, 256, (2, 3, *SIZE), generator=generator, dtype=torch.uint8)
