"""Attention with decomposed relative positions, without an N x N bias.

The logit of query i and key j is  s q_i.k_j + q_i.Rh[y_i, y_j] + q_i.Rw[x_i, x_j],  with s the
inverse root of the head's width. Three exact ways to compute it:

- `folded`: the positions become H + W more channels of queries and keys,
  q' = [s q, q.Rh, q.Rw] and k' = [k, onehot(y), onehot(x)], and torch's fused kernel does the rest;
  it keeps nothing of N x N for the backward pass;
- `folded_plain`: the same channels with matrix products and a softmax, which is faster for the
  small windows on a CPU;
- `reference`: the logits as written, for comparison.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

Backend = Literal["folded", "folded_plain", "reference"]

_forced: Backend | None = None


def set_attention_backend(backend: Backend | None) -> None:
    """Force one backend in all encoders of this process; None chooses by hardware again.

    Raises:
        ValueError: no such backend.
    """
    global _forced
    if backend is not None and backend not in get_args(Backend):
        raise ValueError(
            f"no attention backend {backend!r}; there are {', '.join(get_args(Backend))}"
        )
    _forced = backend


def attention_backend(q: Tensor) -> Backend:
    """The backend for queries (B, heads, N, d): the forced one, or the fastest one here.

    Measured on one x86-64 core, forward and backward: 94 ms against 121 ms (folded) for 9 windows
    of 14 x 14 with 12 heads of 64; equal at 16 x 16; 708 ms against 307 ms at 32 x 32.
    """
    if _forced is not None:
        return _forced
    small = q.shape[-2] <= 200
    return "folded_plain" if q.device.type == "cpu" and small else "folded"


def attend(
    q: Tensor, k: Tensor, v: Tensor, rows: Tensor | None = None, columns: Tensor | None = None
) -> Tensor:
    """Softmax attention, with relative positions if tables are given.

    Args:
        q: queries (B, heads, P + H*W, d). The first P tokens are prompts, which have no position:
            no term is added to their rows and columns of the logits. The rest is a grid, row-major.
        k: keys, as q.
        v: values, as q.
        rows: embedding (H, H, d) of query row and key row, see `relative_positions`.
        columns: embedding (W, W, d) of query column and key column.

    Returns:
        (B, heads, P + H*W, d).
    """
    if rows is None or columns is None:
        return F.scaled_dot_product_attention(q, k, v)
    return _COMPUTE[attention_backend(q)](q, k, v, rows, columns)


def relative_positions(table: Tensor, size: int) -> Tensor:
    """Look up the embedding of every pair of positions on one axis.

    Args:
        table: embeddings (2*size - 1, d) of the distances -(size - 1) to size - 1.
        size: positions on the axis.

    Returns:
        (size, size, d); entry [i, j] belongs to query i and key j, that is to the distance i - j.
    """
    positions = torch.arange(size, device=table.device)
    return table[positions[:, None] - positions[None, :] + size - 1]


def _position_terms(q: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """q.Rh as (B, heads, H*W, H) and q.Rw as (B, heads, H*W, W), for grid queries."""
    B, heads, N, _ = q.shape
    H, W = rows.shape[0], columns.shape[0]
    grid = q.reshape(B * heads, H, W, -1)
    by_row = torch.einsum("bhwc,hkc->bhwk", grid, rows)
    by_column = torch.einsum("bhwc,wkc->bhwk", grid, columns)
    return by_row.reshape(B, heads, N, H), by_column.reshape(B, heads, N, W)


def _fold(
    q: Tensor, k: Tensor, rows: Tensor, columns: Tensor, multiple_of: int = 1
) -> tuple[Tensor, Tensor]:
    """Make q' and k', their width rounded up with zeros."""
    B, heads, L, d = q.shape
    H, W = rows.shape[0], columns.shape[0]
    prompts = L - H * W
    by_row, by_column = _position_terms(q[:, :, prompts:], rows, columns)
    eye_h = torch.eye(H, dtype=k.dtype, device=k.device).repeat_interleave(W, 0)
    eye_w = torch.eye(W, dtype=k.dtype, device=k.device).repeat(H, 1)
    spare = -(d + H + W) % multiple_of
    grow = (0, spare, prompts, 0)
    q_position = [by_row, by_column]
    k_position = torch.cat([eye_h, eye_w], -1)
    if spare or prompts:
        q_position = [F.pad(torch.cat(q_position, -1), grow)]
        k_position = F.pad(k_position, grow)
    k_position = k_position.expand(B, heads, -1, -1)
    return torch.cat([q * d**-0.5, *q_position], -1), torch.cat([k, k_position], -1)


def _folded(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    d = v.shape[-1]
    # Fused kernels take widths that are multiples of 8, and one width for q, k and v.
    q, k = _fold(q, k, rows, columns, multiple_of=8)
    v = F.pad(v, (0, q.shape[-1] - d))
    out: Tensor = F.scaled_dot_product_attention(q, k, v, scale=1.0)[..., :d]
    return out


def _folded_plain(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    q, k = _fold(q, k, rows, columns)
    out: Tensor = (q @ k.transpose(-2, -1)).softmax(-1).to(v.dtype) @ v
    return out


def _reference(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    prompts = q.shape[-2] - rows.shape[0] * columns.shape[0]
    by_row, by_column = _position_terms(q[:, :, prompts:], rows, columns)
    position = (by_row[..., :, None] + by_column[..., None, :]).flatten(-2)
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    logits = logits + F.pad(position, (prompts, 0, prompts, 0))
    out: Tensor = logits.softmax(-1).to(v.dtype) @ v
    return out


_COMPUTE: dict[Backend, Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "folded": _folded,
    "folded_plain": _folded_plain,
    "reference": _reference,
}
