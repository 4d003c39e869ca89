"""Attention with decomposed relative positions, without an N x N bias.

The logit of query i and key j is  s q_i.k_j + q_i.Rh[y_i, y_j] + q_i.Rw[x_i, x_j],  with s the
inverse square root of the head's width. There are five exact ways to compute it:

- `folded`: the positions become H + W more channels of queries and keys,
  q' = [s q, q.Rh, q.Rw] and k' = [k, onehot(y), onehot(x)], for torch's fused kernel;
- `banded`: a band of queries at a time, so that their logits stay in a CPU's cache;
- `flex`: torch's FlexAttention, whose generated kernel adds the positions to the logits; it can be
  trained on a GPU only;
- `chunked`: torch's fused kernel with the positions as its mask, for some queries at a time;
- `reference`: the logits as written, for comparison. Only it keeps the N x N logits for the
  backward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from naslora.sam.backends import AttentionBackend as Backend
from naslora.sam.banded_attention import attend_in_bands
from naslora.sam.fused_attention import attend_flexibly, attend_in_chunks
from naslora.sam.positions import position_terms


def choose_backend(
    setting: Literal["auto"] | Backend, device: torch.device, dtype: torch.dtype
) -> Backend:
    """The backend of a setting: itself, or for "auto" the fastest on a device in a precision.

    Measured on one x86-64 core in float32 with heads of 64, banded against folded, forward and
    backward: the same time at 14 x 14, where banded keeps half the memory; 0.7 of the time at
    32 x 32 and 0.55 at 64 x 64. For half precision, torch's kernel is used on every device.

    Nothing was measured on a GPU yet; `folded` was chosen there because it needs no compiler and
    keeps no N x N tensor. `benchmarks/attention.py` measures all backends on a device and names the
    fastest.
    """
    if setting != "auto":
        return setting
    single = device.type == "cpu" and dtype in (torch.float32, torch.float64)
    return "banded" if single else "folded"


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rows: Tensor,
    columns: Tensor,
    setting: Literal["auto"] | Backend = "auto",
) -> Tensor:
    """Softmax attention with relative positions.

    Args:
        q: queries (B, heads, P + H*W, d). The first P tokens are prompts, which have no position:
            no term is added to their rows and columns of the logits. The rest is a grid, row-major.
        k: keys, as q.
        v: values, as q.
        rows: embedding (H, H, d) of query row and key row, see `relative_positions`.
        columns: embedding (W, W, d) of query column and key column.
        setting: how it is computed; see `choose_backend`.

    Returns:
        (B, heads, P + H*W, d).
    """
    return _COMPUTE[choose_backend(setting, q.device, q.dtype)](q, k, v, rows, columns)


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


def _fold(q: Tensor, k: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Make q' and k', padded with zeros to a multiple of 8 channels, which fused kernels need."""
    B, heads, L, d = q.shape
    H, W = rows.shape[0], columns.shape[0]
    prompts = L - H * W
    by_row, by_column = position_terms(q[:, :, prompts:], rows, columns)
    eye_h = torch.eye(H, dtype=k.dtype, device=k.device).repeat_interleave(W, 0)
    eye_w = torch.eye(W, dtype=k.dtype, device=k.device).repeat(H, 1)
    spare = -(d + H + W) % 8
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
    q, k = _fold(q, k, rows, columns)
    v = F.pad(v, (0, q.shape[-1] - d))  # fused kernels need the same width of q, k and v
    out: Tensor = F.scaled_dot_product_attention(q, k, v, scale=1.0)[..., :d]
    return out


def _reference(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    prompts = q.shape[-2] - rows.shape[0] * columns.shape[0]
    by_row, by_column = position_terms(q[:, :, prompts:], rows, columns)
    position = (by_row[..., :, None] + by_column[..., None, :]).flatten(-2)
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    logits = logits + F.pad(position, (prompts, 0, prompts, 0))
    out: Tensor = logits.softmax(-1).to(v.dtype) @ v
    return out


_COMPUTE: dict[Backend, Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "folded": _folded,
    "banded": attend_in_bands,
    "flex": attend_flexibly,
    "chunked": attend_in_chunks,
    "reference": _reference,
}
