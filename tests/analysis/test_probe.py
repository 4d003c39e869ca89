"""All layers of an encoder in one pass, at other image sizes too."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from naslora.analysis.attention_distance import mean_attention_distance, uniform_distance
from naslora.analysis.log_amplitude import relative_log_amplitudes
from naslora.analysis.probe import Features, probe, resize_encoder
from naslora.methods.registry import adapt
from naslora.sam.backbones import BACKBONES
from naslora.sam.building import Sam, build_sam

PATCH = BACKBONES["tiny"].patch_size


@pytest.fixture
def sam() -> Sam:
    torch.manual_seed(0)
    built = build_sam("tiny", 96).eval().requires_grad_(False)
    encoder = built.image_encoder
    for tensor in (encoder.pos_embed, *(b.attn.rel_pos_h for b in encoder.blocks)):
        tensor.normal_(std=0.3)
    return built


def images(size: int, count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, size, size), generator=generator, dtype=torch.uint8)


def test_every_block_is_measured_where_it_is(sam: Sam) -> None:
    """Against a pass by hand: the embedding, then block after block."""
    batch = images(96)
    found = probe(sam, batch)
    encoder = sam.image_encoder
    x = encoder.patch_embed((batch.float() - sam.pixel_mean) / sam.pixel_std) + encoder.pos_embed
    curves, distances = [x], []
    for block in encoder.blocks:
        distances.append(mean_attention_distance(block.attn, block.norm1(x), PATCH))
        x = block(x)
        curves.append(x)
    torch.testing.assert_close(found.distances, torch.stack(distances, 1))
    expected = [relative_log_amplitudes(curve.permute(0, 3, 1, 2)) for curve in curves]
    torch.testing.assert_close(found.amplitudes, torch.stack(expected, 1))
    assert found.distances.shape == (2, 4, BACKBONES["tiny"].num_heads)
    assert found.amplitudes.shape == (2, 5, 6)


def test_probing_does_not_change_the_model(sam: Sam) -> None:
    batch = images(96)
    before = sam.encode(batch)
    probe(sam, batch)
    torch.testing.assert_close(sam.encode(batch), before, rtol=0, atol=0)
    for module in sam.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_images_do_not_depend_on_their_batch(sam: Sam) -> None:
    batch = images(96, 3)
    together = probe(sam, batch)
    alone = Features.join([probe(sam, batch[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together.distances, alone.distances, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(together.amplitudes, alone.amplitudes, rtol=1e-4, atol=1e-4)


def test_another_image_size_is_that_of_a_checkpoint_for_it(sam: Sam) -> None:
    """As if the weights had been loaded into a SAM of that size."""
    from naslora.sam.conversion import convert

    other = build_sam("tiny", 224).eval()
    other.load_state_dict(convert(sam.state_dict(), other))
    resize_encoder(sam, 224)
    batch = images(224, 1)
    torch.testing.assert_close(sam.encode(batch), other.encode(batch))
    mine, theirs = probe(sam, batch), probe(other, batch)
    torch.testing.assert_close(mine.distances, theirs.distances)
    with pytest.raises(ValueError, match="multiple of 8, not 100"):
        resize_encoder(sam, 100)


def test_a_random_vit_looks_everywhere_alike() -> None:
    """As the paper's first row: near to uniform attention, in windows and on the whole map."""
    torch.manual_seed(0)
    fresh = build_sam("tiny", 224).eval()
    found = probe(fresh, images(224)).distances.mean((0, 2)).numpy()
    window, whole = uniform_distance(6, 6, PATCH), uniform_distance(28, 28, PATCH)
    # 28 is not a multiple of 6: windows at the border have fewer queries.
    np.testing.assert_allclose(found[[1, 3]], whole, rtol=0.02)
    np.testing.assert_allclose(found[[0, 2]], window, rtol=0.06)


@pytest.mark.parametrize("method", ["nas_lora", "vpt", "sam_adapter", "mona", "dora"])
def test_adapted_encoders_are_measured_too(method: str, sam: Sam) -> None:
    plain = probe(sam, images(96))
    adapt(sam, method)
    adapted = probe(sam.eval(), images(96))
    assert adapted.distances.shape == plain.distances.shape
    assert bool(adapted.distances.isfinite().all())
    if method in ("nas_lora", "dora"):  # these start as the identity
        torch.testing.assert_close(adapted.distances, plain.distances, rtol=1e-3, atol=1e-2)
