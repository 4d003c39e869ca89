"""Meta's own model, as the oracle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)

from naslora.sam.backbones import BACKBONES


def randomise(module: torch.nn.Module, seed: int = 0) -> None:
    """Give random values to all parameters, those too that start as zeros or ones."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(noise.to(parameter.dtype), alpha=0.1 if parameter.ndim == 1 else 0.02)


def build_meta(backbone: str, size: int) -> Any:
    """Meta's SAM, in the sizes of one of our backbones."""
    b = BACKBONES[backbone]
    torch.manual_seed(0)
    dim, grid = b.prompt_embed_dim, b.grid((size, size))
    sam = Sam(
        ImageEncoderViT(
            img_size=size,
            patch_size=b.patch_size,
            embed_dim=b.embed_dim,
            depth=b.depth,
            num_heads=b.num_heads,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=b.window_size,
            global_attn_indexes=b.global_attn_indexes,
            out_chans=dim,
        ),
        PromptEncoder(dim, grid, (size, size), mask_in_chans=16),
        MaskDecoder(
            transformer_dim=dim,
            transformer=TwoWayTransformer(2, dim, b.decoder_num_heads, b.decoder_mlp_dim),
            iou_head_hidden_dim=dim,
        ),
    )
    randomise(sam)
    return sam


@pytest.fixture(scope="session")
def meta_sam() -> Callable[[str, int], Any]:
    """A factory of Meta's SAM with random weights: (backbone, image size) to model."""
    return build_meta


@pytest.fixture(scope="session", name="randomise")
def randomise_fixture() -> Callable[..., None]:
    return randomise


@pytest.fixture(autouse=True)
def short_vit_b(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three blocks of vit_b, as a backbone of its own."""
    short = replace(BACKBONES["vit_b"], depth=3, global_attn_indexes=(2,), checkpoint=None)
    monkeypatch.setitem(BACKBONES, "short_vit_b", short)
