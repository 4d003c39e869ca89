"""Grad-CAM on the image encoder: which positions a prediction depends on (Figure 4).

Selvaraju et al. 2017, eq. 1 and 2, for segmentation: with features A_c of the encoder's last block
and the summed score y of what is predicted, the map is relu(sum_c w_c A_c), w_c = mean of dy/dA_c
over positions. The package `grad-cam` computes the same; it is not used because importing it takes
longer than computing the maps. A test compares the maps.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from naslora.sam.building import Sam
from naslora.sam.inference import semantic_probabilities
from naslora.sam.mask_decoder import Prediction

_EPSILON = 1e-7


def grad_cam(sam: Sam, images: Tensor) -> Tensor:
    """The maps of images (B, 3, H, W), uint8 or float in 0..255.

    Maps are resized bilinearly to the image and scaled to [0, 1]. A map without positive weights is
    0 everywhere.

    Returns:
        (B, H, W), float32.
    """
    features: list[Tensor] = []
    last = sam.image_encoder.blocks[-1]
    hook = last.register_forward_hook(lambda _, __, output: features.append(output.detach()))
    try:
        with torch.no_grad():
            sam.encode(images)
    finally:
        hook.remove()
    # Only the gradient at these tokens is needed, so no activations of earlier blocks are kept.
    tokens = features[0].requires_grad_()
    with torch.enable_grad():
        embeddings = sam.image_encoder.neck(tokens.permute(0, 3, 1, 2))
        score = predicted_score(sam.decode(embeddings)).sum()
        (gradient,) = torch.autograd.grad(score, tokens)
    weights = gradient.float().mean((1, 2), keepdim=True)
    maps = (weights * tokens.detach().float()).sum(-1).relu()
    maps = F.interpolate(maps[:, None], images.shape[-2:], mode="bilinear")[:, 0]
    maps = maps - maps.amin((1, 2), keepdim=True)
    return maps / (maps.amax((1, 2), keepdim=True) + _EPSILON)


def predicted_score(prediction: Prediction) -> Tensor:
    """The summed score of what is predicted in each image, (B,).

    For a binary task, the sum of the logits of foreground pixels; for a multi-class task, the sum
    of the scores of the predicted classes, without background pixels. If nothing is predicted, the
    sum over all pixels: of the logits, or of the scores of all classes except background.
    """
    if prediction.class_logits is None:
        scores = prediction.masks[:, 0]
        found = scores > 0
    else:
        height, width = prediction.masks.shape[-2:]
        maps = semantic_probabilities(prediction, (height, width))
        scores, classes = maps.max(1)
        found = classes > 0
        nothing = ~found.flatten(1).any(1)
        scores = torch.where(nothing[:, None, None], maps[:, 1:].sum(1), scores)
    found = found | ~found.flatten(1).any(1)[:, None, None]
    return (scores * found.detach()).sum((1, 2))
