"""Probabilities per class and pixel, and classes, from the outputs of mask tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from naslora.core.errors import DivergedError
from naslora.sam.mask_decoder import Prediction


def semantic_probabilities(prediction: Prediction, size: tuple[int, int]) -> Tensor:
    """Combine the masks and classes of all T mask tokens into maps of `size` (H, W).

    Without a class branch the map is the sigmoid of the mask of token 0, which Meta uses for a
    single mask. With one, the class branch gives each token a distribution over K classes, the
    background among them, and a last entry, "no object". That entry is dropped after the softmax,
    and the map of class c is  sum_q p_q(c) sigmoid(mask_q)  (semantic inference of MaskFormer,
    Cheng et al. 2021, Sec. 3.4). The values of a pixel are scores and need not sum to one. Masks of
    exclusive classes need no class branch: the maps are their softmax.

    Returns:
        (B, 1, H, W) in [0, 1], or (B, K, H, W) in [0, T]; float32 or wider.
    """
    masks = prediction.masks.to(torch.promote_types(prediction.masks.dtype, torch.float32))
    if prediction.exclusive:
        logits = F.interpolate(masks, size, mode="bilinear", align_corners=False)
        return logits.softmax(1)
    if prediction.class_logits is None:
        masks = masks[:, :1]
    # In place: at an image's own size, these maps take most of an evaluation's memory.
    masks = F.interpolate(masks, size, mode="bilinear", align_corners=False).sigmoid_()
    if prediction.class_logits is None:
        return masks
    classes = prediction.class_logits.to(masks.dtype).softmax(-1)[..., :-1]
    return torch.einsum("bqc,bqhw->bchw", classes, masks)


def class_numbers(scores: Tensor) -> Tensor:
    """The class with the highest score at each pixel; of equal scores, the first.

    Args:
        scores: (B, K, H, W), K up to 256.

    Returns:
        uint8 (B, H, W), on the same device.

    Raises:
        DivergedError: the highest score of a pixel is not finite.
    """
    highest, numbers = scores.max(dim=1)
    if not bool(highest.isfinite().all()):
        raise DivergedError("the model predicts values that are not finite")
    return numbers.to(torch.uint8)
