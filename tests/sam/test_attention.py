"""The backends compute what the definition says."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from naslora.core.errors import SettingsError
from naslora.sam import attention, banded_attention, fused_attention
from naslora.sam.attention import attend, choose_backend, relative_positions
from naslora.sam.backends import AttentionBackend

BACKENDS: tuple[AttentionBackend, ...] = get_args(AttentionBackend)


def draw(
    H: int, W: int, prompts: int, heads: int = 2, d: int = 5, seed: int = 0
) -> tuple[list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(seed)

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)

    qkv = [randn(3, heads, prompts + H * W, d) for _ in range(3)]
    return qkv, [randn(2 * H - 1, d), randn(2 * W - 1, d)]


def naive(q: Tensor, k: Tensor, v: Tensor, tables: list[Tensor], H: int, W: int) -> Tensor:
    """The definition, one pair of tokens at a time."""
    B, heads, L, d = q.shape
    prompts = L - H * W
    out = torch.zeros_like(v)
    for b in range(B):
        for h in range(heads):
            for i in range(L):
                logits = []
                for j in range(L):
                    logit = float(q[b, h, i] @ k[b, h, j]) / math.sqrt(d)
                    if i >= prompts and j >= prompts:
                        (yi, xi), (yj, xj) = divmod(i - prompts, W), divmod(j - prompts, W)
                        logit += float(q[b, h, i] @ tables[0][yi - yj + H - 1])
                        logit += float(q[b, h, i] @ tables[1][xi - xj + W - 1])
                    logits.append(logit)
                out[b, h, i] = torch.tensor(logits, dtype=q.dtype).softmax(0) @ v[b, h]
    return out


@pytest.fixture
def flex_with_gradients(monkeypatch):
    """On a CPU, torch refuses gradients of FlexAttention, which its unfused form has."""
    monkeypatch.setattr("torch.nn.attention.flex_attention._validate_device", lambda *_: None)
    monkeypatch.setitem(attention._COMPUTE, "flex", fused_attention._flexible)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("H", "W", "prompts"), [(3, 3, 0), (2, 4, 0), (3, 2, 2)])
def test_equals_the_definition(backend, H, W, prompts):
    (q, k, v), tables = draw(H, W, prompts)
    rows, columns = relative_positions(tables[0], H), relative_positions(tables[1], W)
    with torch.no_grad():
        out = attend(q, k, v, rows, columns, backend)
        expected = naive(q, k, v, tables, H, W)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(0, 3),
    st.integers(1, 9),
    st.sampled_from([1 << 20, 1500, 300, 40, 1]),
)
def test_backends_agree_with_their_gradients(H, W, prompts, d, logits):
    """Whatever the size of a band: many windows, one, some heads of it, some rows, or one row."""
    banded_attention._LOGITS = fused_attention._PAIRS = logits
    agree([name for name in BACKENDS if name != "flex"], H, W, prompts, d)


@pytest.mark.parametrize(("H", "W", "prompts"), [(3, 4, 0), (4, 3, 2)])
@pytest.mark.usefixtures("flex_with_gradients")
def test_flex_agrees_with_its_gradients(H, W, prompts):
    agree(["flex", "reference"], H, W, prompts, 5)


def agree(backends: list[AttentionBackend], H: int, W: int, prompts: int, d: int) -> None:
    """The outputs, and the gradients of queries, keys, values and tables; the last is the truth."""
    results = []
    for backend in backends:
        qkv, tables = draw(H, W, prompts, d=d)
        rows, columns = relative_positions(tables[0], H), relative_positions(tables[1], W)
        out = attend(*qkv, rows, columns, backend)
        out.square().sum().backward()
        results.append([out, *(x.grad for x in (*qkv, *tables))])
    for other in results[:-1]:
        for a, b in zip(other, results[-1], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_flex_says_that_it_does_not_train_on_a_cpu():
    (q, k, v), tables = draw(2, 2, 0)
    positions = [relative_positions(table, 2) for table in tables]
    with pytest.raises(SettingsError, match="flex can be trained on a GPU only"):
        attend(q, k, v, *positions, "flex")


def test_chunked_goes_on_in_half_precision_under_autocast():
    (q, k, v), tables = draw(6, 6, 1)
    fused_attention._PAIRS = 300
    q, k, v = (x.detach().bfloat16().requires_grad_() for x in (q, k, v))
    positions = [relative_positions(table.detach().float(), 6) for table in tables]
    with torch.autocast("cpu", torch.bfloat16):
        out = attend(q, k, v, *positions, "chunked")
        expected = attend(q, k, v, *positions, "reference")
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    torch.testing.assert_close(out, expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("backend", ["folded", "banded", "chunked"])
def test_saves_no_matrix_of_all_pairs(backend):
    """What autograd keeps grows with N, not with N squared."""
    (q, k, v), tables = draw(16, 16, 0, heads=1, d=8)
    sizes = []
    fused_attention._PAIRS = 256 * 64

    def pack(x: Tensor) -> Tensor:
        sizes.append(x.shape)
        return x

    q, k, v = (x.detach().float().requires_grad_() for x in (q, k, v))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        attend(q, k, v, *(relative_positions(t.detach().float(), 16) for t in tables), backend)
    assert sizes
    assert all(shape[-2:] != (256, 256) for shape in sizes)


def test_the_choice_is_by_hardware_and_can_be_forced():
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    for dtype in (torch.float32, torch.float64):
        assert choose_backend("auto", cpu, dtype) == "banded"
        assert choose_backend("auto", gpu, dtype) == "folded"
    assert choose_backend("auto", cpu, torch.bfloat16) == "folded"
    for backend in BACKENDS:
        assert choose_backend(backend, cpu, torch.float32) == backend


@pytest.fixture(autouse=True)
def size_of_bands(monkeypatch):
    monkeypatch.setattr(banded_attention, "_LOGITS", banded_attention._LOGITS)
    monkeypatch.setattr(fused_attention, "_PAIRS", fused_attention._PAIRS)
