"""The terms of queries with decomposed relative positions."""

from __future__ import annotations

import torch
from torch import Tensor


def position_terms(q: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """The products q.Rh and q.Rw.

    Args:
        q: queries of a grid (B, heads, H*W, d).
        rows: embedding (H, H, d) of query row and key row.
        columns: embedding (W, W, d) of query column and key column.

    Returns:
        (B, heads, H*W, H) and (B, heads, H*W, W).
    """
    B, heads, N, _ = q.shape
    H, W = rows.shape[0], columns.shape[0]
    grid = q.reshape(B * heads, H, W, -1)
    by_row = torch.einsum("bhwc,hkc->bhwk", grid, rows)
    by_column = torch.einsum("bhwc,wkc->bhwk", grid, columns)
    return by_row.reshape(B, heads, N, H), by_column.reshape(B, heads, N, W)
