"""Mean attention distance: the mean distance in pixels of the patches that each head attends to.

Raghu et al. 2021, "Do Vision Transformers See Like Convolutional Neural Networks?", Sec. 3. With
attention weights A (rows sum to 1) and patches at the pixels p, a head's distance on an image is
mean_i sum_j A_ij |p_i - p_j|.

In blocks with windowed attention, distances are within a window. Padding of a window counts as a
key at its position, because the model attends to it, and not as a query, because its output is
dropped. SAM has no class token. Prompt tokens have no position: weights are over the patches only.
"""

from __future__ import annotations

import torch
from torch import Tensor

from naslora.sam.attention import relative_positions
from naslora.sam.image_encoder import Attention
from naslora.sam.windows import window_partition

# Attention weights in memory at the same time: 64 MiB of float32.
MAX_WEIGHTS = 1 << 24


def patch_positions(height: int, width: int, patch_px: float) -> Tensor:
    """Row and column in pixels of each patch of a grid, row-major: (height * width, 2), float32."""
    rows, columns = torch.arange(height), torch.arange(width)
    return patch_px * torch.cartesian_prod(rows, columns).reshape(-1, 2).float()


def uniform_distance(height: int, width: int, patch_px: float) -> float:
    """The attention distance in pixels of uniform attention over a grid of patches."""
    positions = patch_positions(height, width, patch_px).double()
    return float(torch.cdist(positions, positions).mean())


def query_distances(
    q: Tensor,
    k: Tensor,
    rows: Tensor,
    columns: Tensor,
    patch_px: float,
    max_weights: int = MAX_WEIGHTS,
) -> Tensor:
    """The mean distance from each query to the keys that it attends to: sum_j A_ij |p_i - p_j|.

    Attention weights are computed in float32 for some queries at a time, at most `max_weights` at
    once.

    Args:
        q: queries (B, heads, H*W, d) of a grid, row-major, not scaled.
        k: keys, as q.
        rows: embedding (H, H, d) of query row and key row, see `relative_positions`.
        columns: embedding (W, W, d) of query column and key column.
        patch_px: side of a patch in pixels.
        max_weights: the most attention weights to compute at once.

    Returns:
        (B, heads, H*W), pixels, float32.
    """
    B, heads, N, d = q.shape
    H, W = rows.shape[0], columns.shape[0]
    q, k, rows, columns = q.float(), k.float(), rows.float(), columns.float()
    positions = patch_positions(H, W, patch_px).to(q.device)
    step = max(1, max_weights // (B * heads * N))
    distances = []
    for start in range(0, N, step):
        index = torch.arange(start, min(start + step, N), device=q.device)
        chosen = q[:, :, index]
        by_row = torch.einsum("bhnd,nkd->bhnk", chosen, rows[index // W])
        by_column = torch.einsum("bhnd,nkd->bhnk", chosen, columns[index % W])
        logits = (chosen * d**-0.5) @ k.transpose(-2, -1)
        logits = logits.unflatten(-1, (H, W)) + by_row[..., :, None] + by_column[..., None, :]
        weights = logits.flatten(-2).softmax(-1)
        # torch.cdist uses matrix products, which lose precision for close patches.
        apart = (positions[index, None] - positions).square().sum(-1).sqrt()
        distances.append(torch.einsum("bhnk,nk->bhn", weights, apart))
    return torch.cat(distances, -1)


def mean_attention_distance(
    attention: Attention, x: Tensor, patch_px: float, max_weights: int = MAX_WEIGHTS
) -> Tensor:
    """The mean attention distance of each head on each image.

    Args:
        attention: an attention layer of the image encoder, adapted or not.
        x: its input (B, H, W, C).
        patch_px: side of a patch in pixels.
        max_weights: the most attention weights to compute at once.

    Returns:
        (B, heads), pixels of the encoder's input, float32.
    """
    fused = attention.project(x)
    h, w = fused.shape[1:3]
    q, k, _ = attention.split(fused.flatten(1, 2))
    distances = query_distances(
        q,
        k,
        relative_positions(attention.rel_pos_h, h),
        relative_positions(attention.rel_pos_w, w),
        patch_px,
        max_weights,
    )
    inside = x.new_ones(*x.shape[:3], 1, dtype=torch.float32)
    if attention.window_size:
        inside = window_partition(inside, attention.window_size)
    # From (B * windows, heads, h * w) to sums per image and head over queries that are not padding.
    inside = inside.reshape(x.shape[0], -1, 1, h * w)
    distances = distances.reshape(x.shape[0], -1, *distances.shape[1:])
    return (distances * inside).sum((1, 3)) / inside.sum((1, 3))
