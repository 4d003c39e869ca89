"""The loss of networks that classify each pixel: cross-entropy and Dice over exclusive classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from naslora.data.masks import IGNORE
from naslora.sam.mask_decoder import Prediction
from naslora.training.labels import check_labels

_TINY = torch.finfo(torch.float32).tiny


def pixel_loss(
    prediction: Prediction, labels: Tensor, class_weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy, mean over pixels, plus Dice, mean over the classes in the batch; in fp32.

    Dice is that of eq. 10, with squared denominators, between softmax probabilities and labels.

    Args:
        prediction: exclusive masks (B, K, h, w).
        labels: (B, H, W) with values 0..K-1, or `IGNORE` for pixels that do not count.
        class_weights: (K,) weights of the classes in the cross-entropy.

    Raises:
        ValueError: a label is none of these; see `check_labels`.
    """
    size = (labels.shape[-2], labels.shape[-1])
    logits = F.interpolate(prediction.masks.float(), size, mode="bilinear", align_corners=False)
    classes, known = logits.shape[1], labels != IGNORE
    target = labels.long()
    check_labels(labels, classes)
    entropy = F.cross_entropy(logits, target, class_weights, ignore_index=IGNORE, reduction="sum")
    truth = F.one_hot(torch.where(known, target, 0), classes).movedim(-1, 1) * known[:, None]
    probability = logits.softmax(1) * known[:, None]
    pixels = (0, 2, 3)
    overlap = (probability * truth).sum(pixels)
    total = probability.square().sum(pixels) + truth.sum(pixels)
    present = truth.any(dim=3).any(dim=2).any(dim=0)
    # Not by boolean indexing, which would wait for the GPU.
    dice = torch.where(present, 1 - 2 * overlap / total.clamp_min(_TINY), 0)
    return entropy / known.sum().clamp_min(1) + dice.sum() / present.sum().clamp_min(1)
