"""Grad-CAM against the package `grad-cam` 1.5.7, whose values are stored here."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
import torch

from naslora.analysis.grad_cam import grad_cam, predicted_score
from naslora.sam.backbones import BACKBONES
from naslora.sam.building import Sam, build_sam
from naslora.sam.mask_decoder import Prediction

# Its maps of `waves()` for `wavy_sam(classes)`, target `predicted_score`, layer blocks[-1]; every
# 21st pixel of both axes.
GOLDEN = {
    1: [
        [
            [0.0, 0.0, 0.1347, 0.8621],
            [0.4911, 0.0767, 0.0538, 0.3441],
            [0.9567, 0.4765, 0.0, 0.0],
            [0.6643, 0.855, 0.0, 0.0],
        ],
        [
            [0.0062, 0.2367, 0.9275, 0.947],
            [0.364, 0.0789, 0.6204, 0.9905],
            [0.8594, 0.3537, 0.1437, 0.5986],
            [1.0, 0.7044, 0.058, 0.2601],
        ],
    ],
    3: [
        [
            [0.0422, 0.5894, 0.8655, 0.4029],
            [0.009, 0.2867, 0.8228, 0.7484],
            [0.2479, 0.0396, 0.4935, 0.9525],
            [0.6543, 0.1432, 0.1395, 0.6634],
        ],
        [
            [0.2546, 0.868, 0.7468, 0.2082],
            [0.0821, 0.4976, 0.9274, 0.5887],
            [0.1058, 0.0316, 0.6718, 0.9688],
            [0.4482, 0.0643, 0.3262, 0.9571],
        ],
    ],
}


def wavy_sam(classes: int) -> Sam:
    """A SAM whose weights are waves, the same with every version of torch."""
    # The sizes with which the golden values were computed.
    sizes = replace(BACKBONES["tiny"], embed_dim=64, num_heads=2, patch_size=16, window_size=4)
    with patch.dict(BACKBONES, tiny=sizes):
        sam = build_sam("tiny", 64, classes=classes, hypernetworks="per_token").eval()
    with torch.no_grad():
        for index, (name, weight) in enumerate(sorted(sam.named_parameters())):
            wave = torch.sin(1.7 * index + 0.61 * torch.arange(weight.numel())).view(weight.shape)
            if weight.ndim > 1:
                weight.copy_(wave * (2 / weight.shape[-1]) ** 0.5)
            else:
                weight.copy_((1 if name.endswith("weight") else 0) + 0.1 * wave)
        gaussian = sam.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
        gaussian.copy_(torch.sin(0.61 * torch.arange(gaussian.numel())).view(gaussian.shape))
    return sam


def waves() -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    return torch.stack(
        [
            torch.stack([127 + 120 * torch.sin(x / 5 + c + y / slope) for c in range(3)])
            for slope in (9, 13)
        ]
    )


@pytest.mark.parametrize("classes", [1, 3])
def test_as_the_package(classes: int) -> None:
    found = grad_cam(wavy_sam(classes), waves())
    assert found.shape == (2, 64, 64)
    np.testing.assert_allclose(found[:, ::21, ::21].numpy(), GOLDEN[classes], atol=2e-3)


def test_maps_reach_from_0_to_1_whatever_else_is_in_the_batch() -> None:
    sam, images = wavy_sam(1), waves()
    together = grad_cam(sam, images)
    np.testing.assert_allclose(together.amin((1, 2)).numpy(), 0)
    np.testing.assert_allclose(together.amax((1, 2)).numpy(), 1, atol=1e-5)
    for index in range(2):
        alone = grad_cam(sam, images[index : index + 1])[0]
        np.testing.assert_allclose(together[index].numpy(), alone.numpy(), atol=1e-3)


def test_the_model_is_left_as_it_was() -> None:
    sam = wavy_sam(1)
    with torch.inference_mode(False):
        grad_cam(sam, waves())
    assert all(weight.grad is None for weight in sam.parameters())
    assert not any(module._forward_hooks for module in sam.modules())


def test_score_of_a_binary_prediction() -> None:
    masks = torch.tensor([[[[2.0, -1.0], [3.0, -4.0]]], [[[-2.0, -1.0], [-3.0, -4.0]]]])
    # Foreground pixels only; all pixels if there are none.
    assert predicted_score(Prediction(masks)).tolist() == [5.0, -10.0]


def test_score_of_several_classes() -> None:
    """One token sure of class 1, the other of the background; "no object" is last."""
    masks = torch.tensor([[[[20.0, -20.0]], [[-20.0, 20.0]]]])
    classes = torch.tensor([[[0.0, 50.0, 0.0, 0.0], [50.0, 0.0, 0.0, 0.0]]])
    assert predicted_score(Prediction(masks, classes)).item() == pytest.approx(1.0)
    background = torch.tensor([[[50.0, 0.0, 48.0, 0.0], [50.0, 0.0, 0.0, 0.0]]])
    expected = torch.softmax(background[0, 0], 0)[2].item()  # of class 2, where the mask is
    found = predicted_score(Prediction(masks, background)).item()
    assert found == pytest.approx(expected, rel=1e-3)
