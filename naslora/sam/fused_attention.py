"""Attention with relative positions by torch's fused kernels, in two ways for GPUs.

FlexAttention compiles a kernel that looks up the position terms while it computes a logit. The
other way passes them to `scaled_dot_product_attention` as a mask. That is a tensor of all pairs, so
it is made for some queries at a time, and again in the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from naslora.core.errors import SettingsError
from naslora.sam.positions import position_terms

# The number of pairs of queries and keys whose mask is made at a time: 256 MB in half precision.
_PAIRS = 1 << 27


def attend_flexibly(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Compute `naslora.sam.attention.attend`.

    On a CPU, torch computes it without a fused kernel and without gradients.

    Raises:
        SettingsError: gradients are required on a CPU.
    """
    if q.device.type == "cpu":
        if torch.is_grad_enabled() and _trains(q, k, v, rows, columns):
            raise SettingsError(
                "the attention backend flex can be trained on a GPU only",
                remedy="set sam.attention to auto",
            )
        # Even in no_grad mode, torch refuses tensors that require gradients here.
        q, k, v = q.detach(), k.detach(), v.detach()
    return _flexible(q, k, v, rows, columns)


def _trains(*tensors: Tensor) -> bool:
    return any(tensor.requires_grad for tensor in tensors)


def _flexible(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    W = len(columns)
    prompts = q.shape[-2] - len(rows) * W
    by_row, by_column = position_terms(q[:, :, prompts:], rows, columns)
    if prompts:
        # Zeros for the rows of prompt queries, and one column of zeros for all prompt keys.
        by_row, by_column = (F.pad(x, (1, 0, prompts, 0)) for x in (by_row, by_column))
    first = int(prompts > 0)

    def with_positions(
        logit: Tensor, item: Tensor, head: Tensor, query: Tensor, key: Tensor
    ) -> Tensor:
        token = key - prompts
        y, x = token // W + first, token % W + first
        if prompts:
            on_grid = token >= 0
            y, x = torch.where(on_grid, y, 0), torch.where(on_grid, x, 0)
        return logit + by_row[item, head, query, y] + by_column[item, head, query, x]

    out: Tensor = _kernel(q.device.type)(q, k, v, score_mod=with_positions)
    return out


@cache
def _kernel(device: str) -> Callable[..., Tensor]:
    """FlexAttention, compiled where there is a fused kernel."""
    from torch.nn.attention.flex_attention import flex_attention

    if device == "cpu":
        return flex_attention
    return torch.compile(flex_attention, dynamic=False)


def attend_in_chunks(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Compute `naslora.sam.attention.attend`, with the mask of some queries at a time."""
    B, heads, L, _ = q.shape
    prompts = L - len(rows) * len(columns)
    by_row, by_column = position_terms(q[:, :, prompts:], rows, columns)
    if prompts:
        by_row, by_column = (F.pad(x, (0, 0, prompts, 0)) for x in (by_row, by_column))
    by_row, by_column = by_row.to(q.dtype), by_column.to(q.dtype)
    size = max(1, _PAIRS // (B * heads * L))
    if size >= L:
        return _masked(q, by_row, by_column, k, v)
    split = (torch.split(x, size, 2) for x in (q, by_row, by_column))
    parts: list[tuple[Tensor, Tensor, Tensor]] = list(zip(*split, strict=True))
    if not (torch.is_grad_enabled() and _trains(q, k, v, by_row, by_column)):
        return torch.cat([_masked(*part, k, v) for part in parts], 2)
    # The backward pass makes each mask again.
    outs = [
        checkpoint(_masked, *part, k, v, use_reentrant=False, preserve_rng_state=False)
        for part in parts
    ]
    return torch.cat(outs, 2)


def _masked(q: Tensor, by_row: Tensor, by_column: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of some queries (B, heads, n, d), with their position terms as a mask."""
    position = (by_row[..., :, None] + by_column[..., None, :]).flatten(-2)
    mask = F.pad(position, (k.shape[-2] - position.shape[-1], 0))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
