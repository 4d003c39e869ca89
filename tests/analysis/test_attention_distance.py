"""Mean attention distance against loops over pairs of patches, and against closed forms."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from naslora.analysis.attention_distance import (
    mean_attention_distance,
    patch_positions,
    query_distances,
    uniform_distance,
)
from naslora.sam.image_encoder import Attention

LAW = settings(max_examples=8, deadline=None, database=None)


def by_loops(layer: Attention, x: Tensor, patch: int = 16) -> Tensor:
    """Raghu's definition as loops over windows, heads and pairs of patches.

    It shares only the layer's weights with the implementation.
    """
    B, H, W, C = x.shape
    size = layer.window_size or max(H, W)
    height = size if layer.window_size else H
    width = size if layer.window_size else W
    d = C // layer.num_heads
    weight, bias = layer.qkv.weight, layer.qkv.bias
    out = torch.zeros(B, layer.num_heads)
    for b in range(B):
        for head in range(layer.num_heads):
            total, queries = 0.0, 0
            for top in range(0, H, height):
                for left in range(0, W, width):
                    tokens = {}
                    for i in range(height):
                        for j in range(width):
                            inside = top + i < H and left + j < W
                            token = x[b, top + i, left + j] if inside else torch.zeros(C)
                            fused = weight @ token + bias
                            q = fused[head * d : (head + 1) * d]
                            k = fused[C + head * d : C + (head + 1) * d]
                            tokens[i, j] = (q, k, inside)
                    for (i, j), (q, _, inside) in tokens.items():
                        if not inside:
                            continue
                        logits, apart = [], []
                        for (m, n), (_, k, _) in tokens.items():
                            row = layer.rel_pos_h[i - m + height - 1]
                            column = layer.rel_pos_w[j - n + width - 1]
                            logits.append(float(q @ k / math.sqrt(d) + q @ row + q @ column))
                            apart.append(patch * math.hypot(i - m, j - n))
                        top_logit = max(logits)
                        weights = [math.exp(value - top_logit) for value in logits]
                        total += sum(a * w for a, w in zip(apart, weights, strict=True)) / sum(
                            weights
                        )
                        queries += 1
            out[b, head] = total / queries
    return out


def layer_of(size: tuple[int, int], window: int = 0, seed: int = 0) -> Attention:
    torch.manual_seed(seed)
    layer = Attention(8, 2, size, window)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(std=0.7)
    return layer.requires_grad_(False)


@pytest.mark.parametrize(
    ("grid", "window"), [((4, 4), 0), ((3, 5), 0), ((4, 4), 4), ((5, 4), 3), ((2, 3), 4)]
)
def test_against_loops(grid: tuple[int, int], window: int) -> None:
    layer = layer_of((window, window) if window else grid, window)
    x = torch.randn(2, *grid, 8)
    found = mean_attention_distance(layer, x, 16)
    torch.testing.assert_close(found, by_loops(layer, x), rtol=1e-4, atol=1e-4)
    assert found.std() > 0.1  # heads and images differ, so that a mix-up would show


def test_chunks_change_nothing() -> None:
    layer = layer_of((5, 5))
    x = torch.randn(1, 5, 5, 8)
    whole = mean_attention_distance(layer, x, 16)
    for most in (1, 60, 10**9):
        torch.testing.assert_close(mean_attention_distance(layer, x, 16, max_weights=most), whole)


@pytest.mark.parametrize(("side", "pixels"), [(14, 116.49), (64, 533.86)])
def test_uniform_attention_on_the_paper_s_grids(side: int, pixels: float) -> None:
    assert uniform_distance(side, side, 16) == pytest.approx(pixels, abs=5e-3)


@LAW
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**31))
def test_uniform_attention_gives_the_mean_distance_of_pairs(h: int, w: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    q = torch.zeros(1, 2, h * w, 3)
    k = torch.randn(1, 2, h * w, 3, generator=generator)
    rows, columns = torch.randn(h, h, 3), torch.randn(w, w, 3)
    found = query_distances(q, k, rows, columns, 16).mean()
    pairs = [
        16 * math.hypot(a - c, b - d)
        for a in range(h)
        for b in range(w)
        for c in range(h)
        for d in range(w)
    ]
    assert float(found) == pytest.approx(sum(pairs) / len(pairs), abs=1e-3)
    assert uniform_distance(h, w, 16) == pytest.approx(sum(pairs) / len(pairs), abs=1e-4)


@LAW
@given(st.integers(2, 4), st.floats(1, 32))
def test_attention_to_oneself_is_no_distance(side: int, patch: float) -> None:
    tokens = 100 * torch.eye(side * side)[None, None]
    nowhere = torch.zeros(side, side, side * side)
    found = query_distances(tokens, tokens, nowhere, nowhere, patch_px=patch)
    assert float(found.abs().max()) < 1e-4


@LAW
@given(st.integers(0, 2**31), st.floats(2, 64))
def test_distances_scale_with_patches_and_stay_within_the_map(seed: int, patch: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    q, k = torch.randn(2, 1, 3, 12, 4, generator=generator).unbind(0)
    rows = torch.randn(3, 3, 4, generator=generator)
    columns = torch.randn(4, 4, 4, generator=generator)
    one = query_distances(q, k, rows, columns, patch_px=1)
    many = query_distances(q, k, rows, columns, patch_px=patch)
    torch.testing.assert_close(many, patch * one, rtol=1e-4, atol=1e-4)
    assert float(one.min()) >= 0
    assert float(one.max()) <= math.hypot(2, 3)


def test_positions_are_row_major_pixels() -> None:
    expected = [[0, 0], [0, 16], [0, 32], [16, 0], [16, 16], [16, 32]]
    assert patch_positions(2, 3, 16).tolist() == expected


def test_an_adapted_layer_is_called_as_in_the_model() -> None:
    """A layer that looks at neighbours gets windows with their padding, as in the forward pass."""

    class Neighbours(nn.Module):
        pointwise = False

        def __init__(self, base: nn.Linear) -> None:
            super().__init__()
            self.base = base

        def forward(self, x: Tensor) -> Tensor:
            shifted: Any = self.base(x + x.roll(1, 1))
            return shifted

    layer = layer_of((3, 3), 3)
    x = torch.randn(1, 4, 4, 8)
    plain = mean_attention_distance(layer, x, 16)
    layer.qkv = Neighbours(layer.qkv)
    adapted = mean_attention_distance(layer, x, 16)
    assert float((plain - adapted).abs().max()) > 1e-2
    seen = []
    layer.qkv.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape))
    layer(x)
    mean_attention_distance(layer, x, 16)
    assert seen == [(4, 3, 3, 8)] * 2
