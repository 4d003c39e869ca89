"""One image's prediction, of each kind of model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from naslora.evaluation.predictions import predicted_map
from naslora.sam.mask_decoder import Prediction


def test_one_mask_is_probabilities() -> None:
    found = predicted_map(Prediction(torch.zeros(1, 3, 4, 4)), (8, 6))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.full((8, 6), 0.5))


@pytest.mark.parametrize("classes", [2, 3, 12])
def test_exclusive_masks_are_class_numbers(classes: int) -> None:
    """A network that is no SAM has a mask per class and no class logits."""
    masks = torch.zeros(1, classes, 4, 4)
    masks[:, -1, :2], masks[:, 0, 2:] = 5, 5
    found = predicted_map(Prediction(masks, exclusive=True), (4, 4))
    assert found.dtype == np.uint8
    assert (found[:2] == classes - 1).all()
    assert (found[2:] == 0).all()


def test_masks_with_class_logits_are_class_numbers() -> None:
    masks = torch.full((1, 2, 4, 4), -9.0)
    masks[:, 1, :2], masks[:, 0, 2:] = 9, 9
    logits = torch.full((1, 2, 4), -9.0)  # three classes and "no object"
    logits[:, 0, 0], logits[:, 1, 2] = 9, 9
    found = predicted_map(Prediction(masks, logits), (4, 4))
    np.testing.assert_array_equal(found, np.repeat([[2], [2], [0], [0]], 4, axis=1))
