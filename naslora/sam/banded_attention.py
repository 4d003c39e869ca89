"""Attention with relative positions, a band of queries at a time, for CPUs.

The logits of a band fit into the cache, where the additions and the softmax take little time
compared with the matrix products. No N x N tensor is kept for the backward pass, which recomputes
the probabilities: a fifth matrix product in addition to the four that it needs anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from naslora.core.precision import without_autocast

# The number of logits in a band: 4 MB in float32.
_LOGITS = 1 << 20


class _Band(NamedTuple):
    """A band of queries: some rows of the grid.

    Attributes:
        rows: the rows of the grid.
        tokens: the tokens of these rows; the first band has the prompts as well.
        prompts: the number of prompts among the tokens.
    """

    rows: slice
    tokens: slice
    prompts: int


def attend_in_bands(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Compute `naslora.sam.attention.attend`; differentiable once."""
    with without_autocast(q.device):
        rows, columns = rows.to(q.dtype), columns.to(q.dtype)
        out: Tensor = _Attention.apply(q, k, v, rows, columns)
    return out


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        q, k, v, rows, columns = inputs
        ctx.save_for_backward(*inputs)
        B, heads, L, d = v.shape
        # Token before head in memory: the layout that the projection after it reads.
        out = v.new_empty(B, L, heads, d).transpose(1, 2)
        for part in _parts(q):
            q_, k_, v_ = _select(part, q, k, v)
            mixed = torch.empty_like(v_)
            for band in _bands(L, rows, columns):
                probabilities = _probabilities(q_, k_, rows, columns, band)
                mixed[:, band.tokens] = probabilities @ v_
            out[part] = mixed.view(out[part].shape)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, rows, columns = ctx.saved_tensors
        B, heads, L, d = q.shape
        scale, W = d**-0.5, len(columns)
        # One tensor for all three, in the layout of the fused projection's output.
        dq, dk, dv = q.new_empty(B, L, 3, heads, d).permute(2, 0, 3, 1, 4).unbind(0)
        row_table, column_table = (
            torch.zeros_like(table) if needed else None
            for table, needed in zip((rows, columns), ctx.needs_input_grad[3:], strict=True)
        )
        for part in _parts(q):
            q_, k_, v_, grad_ = _select(part, q, k, v, grad)
            dq_ = torch.empty_like(q_)
            # Transposed, (g, d, L), which makes their products a third faster.
            dk_, dv_ = torch.zeros_like(k_.mT), torch.zeros_like(v_.mT)
            for band in _bands(L, rows, columns):
                probabilities = _probabilities(q_, k_, rows, columns, band)
                queries, out = q_[:, band.tokens], grad_[:, band.tokens]
                dv_.baddbmm_(out.mT, probabilities)
                dlogits = torch._softmax_backward_data(
                    out @ v_.mT, probabilities, -1, probabilities.dtype
                )
                dk_.baddbmm_(queries.mT, dlogits, alpha=scale)
                dqueries = dq_[:, band.tokens]
                dqueries.baddbmm_(dlogits, k_, beta=0, alpha=scale)
                terms = _terms(dlogits, rows, columns, band)
                by_row, by_column = _axis(terms.sum(-1), 1), _axis(terms.sum(-2), 2)
                on_grid = _on_grid(dqueries, band, W)
                on_grid += _undo_axis(by_row @ rows[band.rows], on_grid, 1)
                on_grid += _undo_axis(by_column @ columns, on_grid, 2)
                if row_table is not None:
                    row_table[band.rows] += by_row.mT @ _axis(_on_grid(queries, band, W), 1)
                if column_table is not None:
                    column_table += by_column.mT @ _axis(_on_grid(queries, band, W), 2)
            for whole, gradient in ((dq, dq_), (dk, dk_.mT), (dv, dv_.mT)):
                whole[part] = gradient.reshape(whole[part].shape)
        return dq, dk, dv, row_table, column_table


def _parts(q: Tensor) -> Iterator[tuple[slice, slice]]:
    """Slices of images (or windows) and heads, as many at a time as fit into one band."""
    B, heads, L, _ = q.shape
    fitting = _LOGITS // L**2
    items, head_step = max(1, fitting // heads), max(1, min(heads, fitting))
    for item in range(0, B, items):
        for head in range(0, heads, head_step):
            yield slice(item, item + items), slice(head, head + head_step)


def _select(part: tuple[slice, slice], *wholes: Tensor) -> list[Tensor]:
    """A part of each tensor (B, heads, L, d), as (g, L, d)."""
    return [whole[part].flatten(0, 1).contiguous() for whole in wholes]


def _bands(L: int, rows: Tensor, columns: Tensor) -> Iterator[_Band]:
    H, W = len(rows), len(columns)
    height = H if L**2 <= _LOGITS else max(1, _LOGITS // (L * W))
    for first in range(0, H, height):
        end = min(first + height, H)
        prompts = 0 if first else L - H * W
        tokens = slice(L - (H - first) * W - prompts, L - (H - end) * W)
        yield _Band(slice(first, end), tokens, prompts)


def _probabilities(q: Tensor, k: Tensor, rows: Tensor, columns: Tensor, band: _Band) -> Tensor:
    """The attention of the queries in a band, of (g, L, d), over all keys: (g, tokens, L)."""
    q = q[:, band.tokens]
    logits = (q * q.shape[-1] ** -0.5) @ k.mT
    terms = _terms(logits, rows, columns, band)
    queries = _on_grid(q, band, len(columns))
    by_row = _axis(queries, 1) @ rows[band.rows].mT
    by_column = _axis(queries, 2) @ columns.mT
    terms += _undo_axis(by_row, terms[..., 0], 1)[..., :, None]
    terms += _undo_axis(by_column, terms[..., 0, :], 2)[..., None, :]
    return torch.softmax(logits, -1)


def _on_grid(tokens: Tensor, band: _Band, W: int) -> Tensor:
    """The tokens of a band (g, tokens, d) without the prompts, as a view (g, rows, W, d)."""
    tokens = tokens[:, band.prompts :]
    return tokens.view(len(tokens), -1, W, tokens.shape[-1])


def _terms(logits: Tensor, rows: Tensor, columns: Tensor, band: _Band) -> Tensor:
    """The logits (g, tokens, L) without those of prompts, as a view (g, rows, W, H, W)."""
    H, W = len(rows), len(columns)
    logits = logits[:, band.prompts :, logits.shape[-1] - H * W :]
    return logits.view(len(logits), -1, W, H, W)


def _axis(x: Tensor, axis: int) -> Tensor:
    """Move an axis of (g, rows, W, c) to the front, for one matrix product per index on it."""
    return x.transpose(0, axis).flatten(1, 2)


def _undo_axis(x: Tensor, like: Tensor, axis: int) -> Tensor:
    """The inverse of `_axis`, for the first three sizes of `like`, (g, rows, W, ...)."""
    shape = list(like.shape[:3])
    shape[0], shape[axis] = shape[axis], shape[0]
    return x.view(*shape, -1).transpose(0, axis)
