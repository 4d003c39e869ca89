"""From mask tokens to a probability per class and pixel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from naslora.sam.mask_decoder import Prediction


def semantic_probabilities(prediction: Prediction, size: tuple[int, int]) -> Tensor:
    """Combine what the tokens say into maps of `size` (H, W).

    Without a class branch the map is the sigmoid of mask token 0, the token that Meta uses for a
    single mask. With one, the class branch gives each token a distribution over K classes, the
    background among them, and a last entry, "no object". That entry is dropped after the softmax,
    and the map of class c is  sum_q p_q(c) sigmoid(mask_q)  (MaskFormer's semantic inference). The
    maps of a pixel are scores: they need not sum to one.

    Returns:
        (B, 1, H, W) in [0, 1], or (B, K, H, W) in [0, T]; float32 or wider.
    """
    masks = prediction.masks.to(torch.promote_types(prediction.masks.dtype, torch.float32))
    if prediction.class_logits is None:
        masks = masks[:, :1]
    masks = F.interpolate(masks, size, mode="bilinear", align_corners=False).sigmoid()
    if prediction.class_logits is None:
        return masks
    classes = prediction.class_logits.to(masks.dtype).softmax(-1)[..., :-1]
    return torch.einsum("bqc,bqhw->bchw", classes, masks)
