"""Weights made to fit other sizes and decoders."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from segment_anything.modeling.image_encoder import get_rel_pos

from naslora.sam.attention import relative_positions
from naslora.sam.building import build_sam
from naslora.sam.conversion import convert, resize_pos_embed, resize_rel_pos

TOKENS = "mask_decoder.mask_tokens.weight"
HYPER = "mask_decoder.output_hypernetworks_mlps."
IOU = "mask_decoder.iou_prediction_head.layers.2.weight"
CLASSES = "mask_decoder.class_prediction_head.weight"


def make(randomise, seed, *args, **options):
    sam = build_sam(*args, **options)
    randomise(sam, seed)
    return sam


@settings(max_examples=15, deadline=None)
@given(*[st.integers(1, 12)] * 4)
def test_positions_keep_constants_and_their_own_size(h, w, H, W):
    torch.manual_seed(0)
    embedding = torch.randn(1, h, w, 4)
    assert torch.equal(resize_pos_embed(embedding, (h, w)), embedding)
    constant = torch.arange(4.0).expand(1, h, w, 4)
    resized = resize_pos_embed(constant, (H, W))
    torch.testing.assert_close(resized, torch.arange(4.0).expand(1, H, W, 4))


def test_positions_keep_slopes():
    ramp = torch.arange(16.0)[None, :, None, None].expand(1, 16, 16, 1)
    half = resize_pos_embed(ramp, (8, 8))[0, 2:-2, 0, 0]  # away from the borders
    torch.testing.assert_close(half, torch.arange(8.0)[2:-2] * 2 + 0.5, rtol=0, atol=1e-3)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12))
def test_relative_positions_are_resized_as_metas_code_does(source, target):
    torch.manual_seed(0)
    table = torch.randn(2 * source - 1, 3)
    ours = relative_positions(resize_rel_pos(table, 2 * target - 1), target)
    torch.testing.assert_close(ours, get_rel_pos(target, target, table), rtol=0, atol=1e-6)


def test_same_model_same_weights(randomise):
    source = make(randomise, 1, "tiny", 64, classes=3, mask_tokens=2)
    state = convert(source.state_dict(), build_sam("tiny", 64, classes=3, mask_tokens=2))
    assert state.keys() == source.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in source.state_dict().items())


def test_another_size_changes_positions_alone(randomise):
    source = make(randomise, 1, "tiny", 128)
    target = build_sam("tiny", (96, 160))
    target.load_state_dict(convert(source.state_dict(), target))
    target_state = target.state_dict()
    changed = {n for n, v in source.state_dict().items() if target_state[n].shape != v.shape}
    assert changed == {
        "image_encoder.pos_embed",
        *(f"image_encoder.blocks.{i}.attn.rel_pos_{a}" for i in (1, 3) for a in "hw"),
    }
    same = set(target_state) - changed
    assert all(torch.equal(target_state[name], source.state_dict()[name]) for name in same)
    assert target(torch.zeros(1, 3, 96, 160)).masks.isfinite().all()


def test_binary_decoder_takes_metas_token_0(randomise):
    source = make(randomise, 1, "tiny", 64, decoder="original").state_dict()
    state = convert(source, build_sam("tiny", 64))
    assert torch.equal(state[TOKENS], source[TOKENS][:1])
    assert torch.equal(state[IOU], source[IOU][:1])
    assert torch.equal(state[HYPER + "0.layers.1.weight"], source[HYPER + "0.layers.1.weight"])
    assert not any(name.startswith(HYPER + "1.") for name in state)


@pytest.mark.parametrize("decoder", ["original", "semantic"])
def test_multiclass_decoder_repeats_tokens_with_noise(randomise, decoder):
    source = make(randomise, 1, "tiny", 64, decoder=decoder).state_dict()
    T = source[TOKENS].shape[0]
    target = build_sam("tiny", 64, classes=3, mask_tokens=6, hypernetworks="per_token")
    initial = target.state_dict()[CLASSES].clone()
    state = convert(source, target)
    assert torch.equal(state[TOKENS][:T], source[TOKENS])
    repeated = source[TOKENS][torch.arange(T, 6) % T]
    noise = state[TOKENS][T:] - repeated
    assert (noise != 0).all()
    ratio = noise.std(-1) / repeated.std(-1)
    assert ((ratio > 1) & (ratio < 2)).all()  # sqrt 2: as for two unrelated tokens
    for index in range(6):
        name = f"{HYPER}{index}.layers.0.weight"
        assert torch.equal(state[name], source[f"{HYPER}{index % T}.layers.0.weight"])
    assert torch.equal(state[CLASSES], initial)
    torch.manual_seed(99)
    assert torch.equal(convert(source, target)[TOKENS], state[TOKENS])  # its own seed


def test_weights_stay_on_their_device():
    with torch.device("meta"):
        source = build_sam("tiny", 64, decoder="original").state_dict()
        target = build_sam("tiny", 96, classes=3, mask_tokens=6, hypernetworks="per_token")
    assert all(value.is_meta for value in convert(source, target).values())


@pytest.mark.parametrize("classes", [1, 3])
def test_a_shared_mlp_and_its_tokens_start_from_token_0(randomise, classes):
    options = {"decoder": "original"}
    if classes > 1:
        options = {"classes": classes, "mask_tokens": 4, "hypernetworks": "per_token"}
    source = make(randomise, 1, "tiny", 64, **options).state_dict()
    target = build_sam("tiny", 64, classes=3, mask_tokens=6, hypernetworks="shared")
    state = convert(source, target)
    target.load_state_dict(state, strict=True)
    assert torch.equal(state[TOKENS], source[TOKENS][:1].expand(6, -1))
    assert torch.equal(state[IOU], source[IOU][:1].expand(6, -1))
    assert torch.equal(state[HYPER + "0.layers.1.weight"], source[HYPER + "0.layers.1.weight"])
    assert not any(name.startswith(HYPER + "1.") for name in state)


@pytest.mark.parametrize("tokens", [2, 6])
def test_a_shared_mlp_stays_with_the_tokens_that_it_was_trained_with(randomise, tokens):
    source = make(randomise, 1, "tiny", 64, classes=3, mask_tokens=4).state_dict()
    state = convert(source, build_sam("tiny", 64, classes=3, mask_tokens=tokens))
    assert torch.equal(state[TOKENS][:4], source[TOKENS][:tokens])
    assert len(state[TOKENS].unique(dim=0)) == tokens
    assert torch.equal(state[HYPER + "0.layers.1.weight"], source[HYPER + "0.layers.1.weight"])


def test_class_branch_is_kept_for_the_same_classes_alone(randomise):
    source = make(randomise, 1, "tiny", 64, classes=3, mask_tokens=2).state_dict()
    same = build_sam("tiny", 64, classes=3, mask_tokens=4)
    assert torch.equal(convert(source, same)[CLASSES], source[CLASSES])
    other = build_sam("tiny", 64, classes=5, mask_tokens=4)
    assert torch.equal(convert(source, other)[CLASSES], other.state_dict()[CLASSES])
    assert CLASSES not in convert(source, build_sam("tiny", 64))
