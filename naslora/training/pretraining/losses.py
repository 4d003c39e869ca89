"""The losses that SAM was trained with (Kirillov et al., 2023, Appendix A)."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from naslora.training.losses import bce_loss, dice_loss
from naslora.training.pretraining.model import Masks

_FOCAL = 20.0  # weight of the focal loss; that of Dice is 1


def focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Focal loss, mean over the pixels of (..., h, w); targets may be fractions in [0, 1]."""
    loss: Tensor = sigmoid_focal_loss(logits, target, alpha=0.25, gamma=2.0)
    return loss.flatten(-2).mean(-1)


def mask_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Focal and Dice loss, 20 to 1, of masks (N, T, h, w) and their targets (N, h, w): (N, T)."""
    expanded = target[:, None].expand_as(logits)
    dice = dice_loss(logits.flatten(0, 1), expanded.flatten(0, 1)).view(logits.shape[:2])
    return _FOCAL * focal_loss(logits, expanded) + dice


def prompt_loss(masks: Masks, target: Tensor, single: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of N prompts.

    Args:
        masks: of the prompts.
        target: (N, h, w), shares of each pixel.
        single: bool (N,), whether the prompt has one answer: then mask 0 is the answer, else the
            one of masks 1 to 3 with the lowest loss.

    Returns:
        The mean loss, with the squared error of the estimated IoU of all masks that could have
        been the answer, and the logits (N, h, w) of the answers.
    """
    losses = mask_loss(masks.logits, target)
    allowed = torch.ones_like(losses, dtype=torch.bool)
    allowed[:, 0], allowed[:, 1:] = single, ~single[:, None]
    best = losses.detach().masked_fill(~allowed, torch.inf).argmin(1)
    rows = torch.arange(len(best))
    error = (masks.quality - intersection_over_union(masks.logits, target)).square()
    quality = (error * allowed).sum(1) / allowed.sum(1)
    return (losses[rows, best] + quality).mean(), masks.logits[rows, best]


@torch.no_grad()
def intersection_over_union(logits: Tensor, target: Tensor) -> Tensor:
    """IoU of masks (N, T, h, w) above 0 with targets (N, h, w) above 0.5: (N, T)."""
    predicted, true = logits > 0, (target > 0.5)[:, None]
    intersection = (predicted & true).flatten(2).sum(2)
    union = (predicted | true).flatten(2).sum(2)
    return intersection / union.clamp_min(1)


def foreground_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy plus Dice of prompt-free masks (B, h, w), as in the training of a method."""
    return (bce_loss(logits, target) + dice_loss(logits, target)).mean()
