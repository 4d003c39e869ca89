"""The encoder equals Meta's at every size, and its extension points are called as documented."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from segment_anything.modeling.image_encoder import Block as MetaBlock
from torch import nn

from naslora.sam import attention
from naslora.sam.backbones import BACKBONES
from naslora.sam.building import build_sam
from naslora.sam.image_encoder import Block
from naslora.sam.windows import window_partition, window_unpartition

BACKENDS = ("folded", "banded", "chunked", "reference")  # and flex, which does not train here


def close(ours, theirs, tolerance):
    scale = theirs.abs().max()
    assert (ours - theirs).abs().max() <= tolerance * scale


class NeighbourlyLinear(nn.Linear):
    """A linear layer that does not say that it is pointwise."""


@pytest.mark.parametrize(
    ("backbone", "size", "backend"),
    [
        *(("tiny", 128, backend) for backend in BACKENDS),  # windows fit
        *(("tiny", 80, backend) for backend in BACKENDS),  # 5 x 5 tokens in windows of 4
        ("tiny", 16, "auto"),  # one token
        ("small", 208, "auto"),
        ("short_vit_b", 160, "auto"),
    ],
)
def test_equals_metas_encoder(meta_sam, backbone, size, backend):
    """Output, gradient of the input, and of the relative positions, in single precision."""
    theirs = meta_sam(backbone, size).image_encoder
    ours = build_sam(backbone, size, attention=backend).image_encoder
    ours.load_state_dict(theirs.state_dict(), strict=True)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    results = []
    for encoder in (ours, theirs):
        images = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))
        images.requires_grad_()
        out = encoder(images)
        cotangent = torch.randn(out.shape, generator=torch.Generator().manual_seed(2))
        (out * cotangent).sum().backward()
        last = encoder.blocks[BACKBONES[backbone].global_attn_indexes[0]].attn
        results.append([out, images.grad, last.rel_pos_h.grad, last.qkv.bias.grad])
    for a, b in zip(*results, strict=True):
        close(a, b, 1e-5)


@pytest.mark.parametrize("layer", [nn.Linear, NeighbourlyLinear])
@pytest.mark.parametrize("window_size", [0, 2, 3])
@pytest.mark.parametrize("grid", [(4, 6), (5, 3), (1, 7)])
def test_block_equals_metas_on_any_map(layer, window_size, grid, randomise):
    """Non-square maps, and qkv computed before or after the windows are cut."""
    theirs = MetaBlock(
        dim=12,
        num_heads=2,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=window_size,
        input_size=grid,
    ).double()
    randomise(theirs)
    size = (window_size, window_size) if window_size else grid
    ours = Block(12, 2, size, window_size)
    ours.attn.qkv = layer(12, 36)
    ours.attn.proj = layer(12, 12)
    ours.double().load_state_dict(theirs.state_dict(), strict=True)
    results = []
    for block in (ours, theirs):
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(2, *grid, 12, dtype=torch.float64, generator=generator, requires_grad=True)
        out = block(x)
        out.square().sum().backward()
        results.append([out, x.grad, block.attn.qkv.bias.grad, block.attn.rel_pos_w.grad])
    for a, b in zip(*results, strict=True):
        close(a, b, 1e-11)


def test_images_of_a_batch_do_not_mix():
    torch.manual_seed(0)
    encoder = build_sam("tiny", (48, 80)).image_encoder.double().eval()
    images = torch.randn(3, 3, 48, 80, dtype=torch.float64)
    with torch.no_grad():
        together, alone = encoder(images), torch.cat([encoder(i[None]) for i in images])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)


def test_checkpointing_changes_no_gradient():
    grads = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        encoder = build_sam("tiny", 64).image_encoder
        encoder.gradient_checkpointing = checkpointing
        encoder(torch.randn(2, 3, 64, 64)).square().mean().backward()
        grads.append({name: p.grad for name, p in encoder.named_parameters()})
    assert all(torch.equal(grads[0][name], grads[1][name]) for name in grads[0])
    assert any(grad.abs().max() > 0 for grad in grads[0].values())


def test_bfloat16_stays_near():
    torch.manual_seed(0)
    encoder = build_sam("tiny", 128).image_encoder
    images = torch.randn(2, 3, 128, 128)
    exact = encoder(images)
    for backend in BACKENDS:
        encoder.attention_backend = backend
        with torch.autocast("cpu", torch.bfloat16):
            mixed = encoder(images)
        mixed.float().square().mean().backward()
        close(mixed.float(), exact, 0.05)
    half = encoder.bfloat16()(images.bfloat16())
    assert half.dtype == torch.bfloat16
    close(half.float(), exact, 0.05)


def test_the_backend_is_the_encoders_own(monkeypatch):
    """Two models in one process may differ; what an encoder says is what runs."""
    ran = []

    def spy(name, compute):
        def computed(*arguments):
            ran.append(name)
            return compute(*arguments)

        return computed

    for name, compute in attention._COMPUTE.items():
        monkeypatch.setitem(attention._COMPUTE, name, spy(name, compute))
    first = build_sam("tiny", 64, attention="reference").image_encoder
    second = build_sam("tiny", 64).image_encoder
    images = torch.randn(1, 3, 64, 64)
    for encoder in (first, second, first):
        ran.clear()
        encoder(images)
        assert set(ran) == {encoder.backend_in_use()}
        assert len(ran) == 4
    first.attention_backend = "folded"
    assert first.backend_in_use() == "folded"
    assert copy.deepcopy(first).backend_in_use() == "folded"
    for bad in ("flash", "", None):
        with pytest.raises(ValueError, match=f"no attention backend {bad!r}; there are auto, fold"):
            first.attention_backend = bad
    with pytest.raises(ValueError, match="no attention backend 'flash'"):
        build_sam("tiny", 64, attention="flash")


def test_the_backend_follows_the_precision(monkeypatch):
    encoder = build_sam("tiny", 64).image_encoder
    assert encoder.backend_in_use() == "banded"
    with torch.autocast("cpu", torch.bfloat16):
        assert encoder.backend_in_use() == "folded"
    assert encoder.double().backend_in_use() == "banded"
    assert encoder.bfloat16().backend_in_use() == "folded"
    assert encoder.to("meta").backend_in_use() == "folded"


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))
def test_windows_come_together_again(H, W, size):
    x = torch.arange(2 * H * W * 3, dtype=torch.float32).reshape(2, H, W, 3)
    windows = window_partition(x, size)
    assert windows.shape[1:] == (size, size, 3)
    assert windows.sum() == x.sum()  # padded with zeros
    assert torch.equal(window_unpartition(windows, (H, W)), x)
    filled = window_partition(x, size, torch.full((1, 1, 1, 3), -1.0))
    assert (filled == -1).sum() == filled.numel() - x.numel()


def test_extension_points_are_called_where_they_say():
    torch.manual_seed(0)
    encoder = build_sam("tiny", 64).image_encoder.double()
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    block = encoder.blocks[0]
    x = encoder.patch_embed(images)
    offsets = torch.randn(4, *x.shape, dtype=torch.float64)

    class Injector(nn.Module):
        def forward(self, got_images, tokens):
            assert torch.equal(got_images, images)
            torch.testing.assert_close(tokens, x)
            return iter(offsets)

    class Scale(nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.factor = factor

        def forward(self, tokens):
            return tokens * self.factor

    encoder.injector = Injector()
    block.after_attention = Scale(2)
    block.after_mlp = Scale(3)
    y = x + encoder.pos_embed + offsets[0]
    y = 2 * (y + block.attn(block.norm1(y)))
    y = 3 * (y + block.mlp(block.norm2(y)))
    for index in (1, 2, 3):
        y = encoder.blocks[index](y + offsets[index])
    torch.testing.assert_close(encoder(images), encoder.neck(y.permute(0, 3, 1, 2)))


@pytest.mark.parametrize("window_size", [0, 2])
def test_prompts_join_every_window(window_size, randomise):
    """Against attention written out for one window at a time, with the prompts as extra keys."""
    grid, dim, heads = (3, 4), 8, 2
    block = Block(dim, heads, (window_size,) * 2 if window_size else grid, window_size).double()
    randomise(block)
    attn = block.attn
    x = torch.randn(2, *grid, dim, dtype=torch.float64)
    prompts = torch.randn(3, dim, dtype=torch.float64)
    parts = window_partition(x, window_size) if window_size else x
    size = parts.shape[1:3]
    outs = []
    for part in parts:
        tokens = torch.cat([prompts, part.reshape(-1, dim)])
        q, k, v = attn.qkv(tokens).reshape(-1, 3, heads, dim // heads).unbind(1)
        logits = torch.einsum("ihd,jhd->hij", q, k) * (dim // heads) ** -0.5
        for i in range(size[0] * size[1]):
            for j in range(size[0] * size[1]):
                (yi, xi), (yj, xj) = divmod(i, size[1]), divmod(j, size[1])
                position = attn.rel_pos_h[yi - yj + size[0] - 1]
                position = position + attn.rel_pos_w[xi - xj + size[1] - 1]
                logits[:, 3 + i, 3 + j] += q[3 + i] @ position
        mixed = torch.einsum("hij,jhd->ihd", logits.softmax(-1), v)[3:]
        outs.append(attn.proj(mixed.reshape(*size, dim)))
    expected = torch.stack(outs)
    if window_size:
        expected = window_unpartition(expected, grid)
    for backend in BACKENDS:
        attn.backend = backend
        torch.testing.assert_close(attn(x, prompts), expected, rtol=0, atol=1e-11)
    block.prompts = nn.Parameter(prompts)
    shortcut = x + attn(block.norm1(x), block.norm1(prompts))
    torch.testing.assert_close(block(x), shortcut + block.mlp(block.norm2(shortcut)))


def test_no_activations_saved_below_first_trained_block():
    encoder = build_sam("tiny", 64).image_encoder.requires_grad_(False)
    encoder.blocks[2].attn.qkv.requires_grad_(True)
    outs = []
    for block in encoder.blocks:
        block.register_forward_hook(lambda block, inputs, out: outs.append(out.requires_grad))
    encoder(torch.randn(1, 3, 64, 64)).sum().backward()
    assert outs == [False, False, True, True]


@torch.no_grad()
@pytest.mark.parametrize("autocast", [False, True])
def test_residuals_in_place_change_nothing_but_the_memory(autocast):
    class Plain(nn.Linear):
        """Not `nn.Linear` itself, so that residuals are added to a new tensor."""

    block = Block(8, 2, (4, 4))
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, 4, 4, 8)
    before = x.clone()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        in_place = block(x)
        for owner, name in ((block.attn, "proj"), (block.mlp, "lin2")):
            layer = getattr(owner, name)
            other = Plain(layer.in_features, layer.out_features)
            other.load_state_dict(layer.state_dict())
            setattr(owner, name, other)
        apart = block(x)
    assert in_place.dtype == apart.dtype == torch.float32
    assert torch.equal(in_place, apart)
    assert torch.equal(x, before)
