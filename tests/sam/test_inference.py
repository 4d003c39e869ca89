"""Semantic inference."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from naslora.core.errors import DivergedError
from naslora.sam.inference import class_numbers, semantic_probabilities
from naslora.sam.mask_decoder import Prediction


def draw(seed, B, T, K):
    generator = torch.Generator().manual_seed(seed)
    masks = 3 * torch.randn(B, T, 4, 6, generator=generator)
    return Prediction(masks, 3 * torch.randn(B, T, K + 1, generator=generator) if K > 1 else None)


def test_binary_is_the_sigmoid_of_the_resized_mask():
    prediction = draw(0, 2, 1, 1)
    same = semantic_probabilities(prediction, (4, 6))
    assert torch.equal(same, prediction.masks.sigmoid())
    assert semantic_probabilities(prediction, (9, 5)).shape == (2, 1, 9, 5)


def test_of_metas_four_masks_the_first_counts():
    prediction = draw(0, 2, 4, 1)
    assert torch.equal(
        semantic_probabilities(prediction, (4, 6)), prediction.masks[:, :1].sigmoid()
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 3), st.integers(1, 5), st.integers(2, 6))
def test_the_maps_sum_to_what_the_tokens_give_to_objects(seed, B, T, K):
    """Over classes they sum to  sum_q (1 - p_q(no object)) sigmoid(mask_q),  at most T."""
    prediction = draw(seed, B, T, K)
    maps = semantic_probabilities(prediction, (4, 6))
    assert maps.shape == (B, K, 4, 6)
    objects = 1 - prediction.class_logits.softmax(-1)[..., -1]
    expected = (objects[..., None, None] * prediction.masks.sigmoid()).sum(1)
    torch.testing.assert_close(maps.sum(1), expected)
    assert maps.min() >= 0
    assert maps.sum(1).max() <= T + 1e-5


def test_the_last_class_is_no_object():
    masks = torch.full((1, 2, 4, 4), 20.0)
    nothing = torch.tensor([0.0, 0.0, 50.0])
    something = torch.tensor([0.0, 50.0, 0.0])
    maps = semantic_probabilities(
        Prediction(masks, torch.stack([nothing, something])[None]), (4, 4)
    )
    torch.testing.assert_close(maps[0, :, 0, 0], torch.tensor([0.0, 1.0]))


def test_half_precision_becomes_single():
    prediction = draw(0, 1, 2, 3)
    half = Prediction(prediction.masks.bfloat16(), prediction.class_logits.bfloat16())
    assert semantic_probabilities(half, (8, 8)).dtype == torch.float32


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 3), st.integers(2, 12))
def test_class_numbers_are_the_highest_scores(seed, B, K):
    scores = torch.rand(B, K, 5, 7, generator=torch.Generator().manual_seed(seed))
    numbers = class_numbers(scores)
    assert (numbers.shape, numbers.dtype) == ((B, 5, 7), torch.uint8)
    highest = scores.gather(1, numbers.long()[:, None])[:, 0]
    assert (scores <= highest[:, None]).all()
    assert not class_numbers(torch.ones(1, K, 3, 3)).any()  # of equals the first


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_scores_that_are_not_finite_have_no_class(bad):
    scores = torch.rand(1, 3, 4, 4)
    scores[0, 1, 2, 3] = bad
    with pytest.raises(DivergedError, match="not finite"):
        class_numbers(scores)
