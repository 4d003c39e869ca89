"""Attention with relative positions, a band of queries at a time, for CPUs.

The logits of a band fit into the cache, where adding positions and taking the softmax cost next to
nothing beside the matrix products. Nothing of N x N outlives its band: the backward pass makes the
probabilities again, one more product beside four.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

# Logits in a band: 4 MB of float32.
_LOGITS = 1 << 20


class _Band(NamedTuple):
    """Some rows of the grid.

    Attributes:
        rows: of the grid.
        tokens: of these rows; with the prompts, in the first band.
        prompts: how many of the tokens are prompts.
    """

    rows: slice
    tokens: slice
    prompts: int


def attend_in_bands(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """What `naslora.sam.attention.attend` says; differentiable once."""
    with torch.autocast(q.device.type, enabled=False):
        rows, columns = rows.to(q.dtype), columns.to(q.dtype)
        out: Tensor = _Attention.apply(q, k, v, rows, columns)
    return out


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        q, k, v, rows, columns = inputs
        ctx.save_for_backward(*inputs)
        B, heads, L, d = v.shape
        # In memory by token, then head: the layout that the projection after it reads.
        out = v.new_empty(B, L, heads, d).transpose(1, 2)
        for of in _shares(q):
            q_, k_, v_ = _share(of, q, k, v)
            mixed = torch.empty_like(v_)
            for band in _bands(L, rows, columns):
                chances = _probabilities(q_, k_, rows, columns, band)
                mixed[:, band.tokens] = chances @ v_
            out[of] = mixed.view(out[of].shape)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, rows, columns = ctx.saved_tensors
        B, heads, L, d = q.shape
        scale, W = d**-0.5, len(columns)
        # One tensor for all three, in the layout of the fused projection that they came from.
        dq, dk, dv = q.new_empty(B, L, 3, heads, d).permute(2, 0, 3, 1, 4).unbind(0)
        row_table, column_table = (
            torch.zeros_like(table) if wanted else None
            for table, wanted in zip((rows, columns), ctx.needs_input_grad[3:], strict=True)
        )
        for of in _shares(q):
            q_, k_, v_, grad_ = _share(of, q, k, v, grad)
            of_q = torch.empty_like(q_)
            # Transposed, (g, d, L), since their products are then faster by a third.
            of_k, of_v = torch.zeros_like(k_.mT), torch.zeros_like(v_.mT)
            for band in _bands(L, rows, columns):
                chances = _probabilities(q_, k_, rows, columns, band)
                mine, out = q_[:, band.tokens], grad_[:, band.tokens]
                of_v.baddbmm_(out.mT, chances)
                logits = torch._softmax_backward_data(out @ v_.mT, chances, -1, chances.dtype)
                of_k.baddbmm_(mine.mT, logits, alpha=scale)
                change = of_q[:, band.tokens]
                change.baddbmm_(logits, k_, beta=0, alpha=scale)
                terms = _terms(logits, rows, columns, band)
                by_row, by_column = _axis(terms.sum(-1), 1), _axis(terms.sum(-2), 2)
                places = _on_grid(change, band, W)
                places += _back(by_row @ rows[band.rows], places, 1)
                places += _back(by_column @ columns, places, 2)
                if row_table is not None:
                    row_table[band.rows] += by_row.mT @ _axis(_on_grid(mine, band, W), 1)
                if column_table is not None:
                    column_table += by_column.mT @ _axis(_on_grid(mine, band, W), 2)
            for whole, share in ((dq, of_q), (dk, of_k.mT), (dv, of_v.mT)):
                whole[of] = share.reshape(whole[of].shape)
        return dq, dk, dv, row_table, column_table


def _shares(q: Tensor) -> Iterator[tuple[slice, slice]]:
    """Split images or windows and heads, so that whole ones fill a band where they fit."""
    B, heads, L, _ = q.shape
    fitting = _LOGITS // L**2
    items, some = max(1, fitting // heads), max(1, min(heads, fitting))
    for item in range(0, B, items):
        for head in range(0, heads, some):
            yield slice(item, item + items), slice(head, head + some)


def _share(of: tuple[slice, slice], *wholes: Tensor) -> list[Tensor]:
    """Of (B, heads, L, d) each, a share (g, L, d)."""
    return [whole[of].flatten(0, 1).contiguous() for whole in wholes]


def _bands(L: int, rows: Tensor, columns: Tensor) -> Iterator[_Band]:
    H, W = len(rows), len(columns)
    height = H if L**2 <= _LOGITS else max(1, _LOGITS // (L * W))
    for y in range(0, H, height):
        z = min(y + height, H)
        prompts = 0 if y else L - H * W
        yield _Band(slice(y, z), slice(L - (H - y) * W - prompts, L - (H - z) * W), prompts)


def _probabilities(q: Tensor, k: Tensor, rows: Tensor, columns: Tensor, band: _Band) -> Tensor:
    """Of the queries (g, L, d) in a band, over all keys: (g, tokens, L)."""
    q = q[:, band.tokens]
    logits = (q * q.shape[-1] ** -0.5) @ k.mT
    terms = _terms(logits, rows, columns, band)
    places = _on_grid(q, band, len(columns))
    terms += _back(_axis(places, 1) @ rows[band.rows].mT, terms[..., 0], 1)[..., :, None]
    terms += _back(_axis(places, 2) @ columns.mT, terms[..., 0, :], 2)[..., None, :]
    return torch.softmax(logits, -1)


def _on_grid(tokens: Tensor, band: _Band, W: int) -> Tensor:
    """Of a band's tokens (g, tokens, d) those with a place, as a view (g, rows, W, d)."""
    places = tokens[:, band.prompts :]
    return places.view(len(places), -1, W, places.shape[-1])


def _terms(logits: Tensor, rows: Tensor, columns: Tensor, band: _Band) -> Tensor:
    """The logits (g, tokens, L) between places of the grid, as a view (g, rows, W, H, W)."""
    H, W = len(rows), len(columns)
    places = logits[:, band.prompts :, logits.shape[-1] - H * W :]
    return places.view(len(places), -1, W, H, W)


def _axis(x: Tensor, axis: int) -> Tensor:
    """Bring an axis of (g, rows, W, c) to the front, for one product per place on it."""
    return x.transpose(0, axis).flatten(1, 2)


def _back(x: Tensor, like: Tensor, axis: int) -> Tensor:
    """Undo `_axis`, for a shape (g, rows, W, any)."""
    shape = list(like.shape[:3])
    shape[0], shape[axis] = shape[axis], shape[0]
    return x.view(*shape, -1).transpose(0, axis)
