"""The paper's losses: binary cross-entropy and Dice on masks, cross-entropy on classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from naslora.sam.mask_decoder import Prediction
from naslora.study.settings import TrainingSettings
from naslora.training.pixel_loss import pixel_loss


def bce_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy, mean over pixels (eq. 9).

    Args:
        logits: (N, H, W) mask logits.
        target: (N, H, W) with values 0 and 1.

    Returns:
        (N,) one loss per mask.
    """
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return loss.flatten(1).mean(1)


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Dice loss with squared denominators (eq. 10).

    An empty target gives a loss of 1 whatever is predicted, as eq. 10 does; no smoothing term
    is added to its numerator.

    Args:
        logits: (N, H, W) mask logits.
        target: (N, H, W) with values 0 and 1.

    Returns:
        (N,) one loss per mask.
    """
    probability = logits.sigmoid().flatten(1)
    target = target.flatten(1)
    overlap = (probability * target).sum(1)
    total = target.square().sum(1) + probability.square().sum(1)
    return 1 - 2 * overlap / total.clamp_min(torch.finfo(total.dtype).tiny)


def binary_loss(prediction: Prediction, labels: Tensor) -> Tensor:
    """The segmentation loss of a binary task: cross-entropy plus Dice, mean over images.

    Args:
        prediction: masks of shape (B, T, h, w), of which the first counts.
        labels: (B, H, W) with values 0 and 1.

    Raises:
        ValueError: a label is above 1, such as 255 for white.
    """
    if labels.max() > 1:
        raise ValueError(f"a binary mask holds 0 and 1, not {labels.max().item()}")
    target = labels.float()
    logits = _resized(prediction.masks[:, :1], labels).squeeze(1)
    return (bce_loss(logits, target) + dice_loss(logits, target)).mean()


def multiclass_loss(
    prediction: Prediction, labels: Tensor, classes: int, settings: TrainingSettings
) -> Tensor:
    """Loss of a multi-class task (eq. 8), classes assigned to mask tokens as Mask2Former does.

    Each class that is present in an image, the background included, is assigned to one mask token
    by the Hungarian method, such that the image's loss is the least of all assignments'. Assigned
    tokens learn their class and its mask; the others learn "no object", with a lower weight, since
    they are many.

    Args:
        prediction: masks of shape (B, T, h, w) and class logits of shape (B, T, K + 1).
        labels: (B, H, W) with values 0..K-1.
        classes: K.
        settings: the weights of the terms.

    Raises:
        ValueError: the decoder has no class branch, or a label is K or more.
    """
    if prediction.class_logits is None:
        raise ValueError("a multi-class task needs a decoder with a class branch")
    masks = _resized(prediction.masks, labels)
    class_weight = masks.new_ones(classes + 1)
    class_weight[classes] = settings.no_object_weight
    segmentation, classification = [], []
    for logits, class_logits, label in zip(
        masks, prediction.class_logits.float(), labels, strict=True
    ):
        present = label.unique()
        if present[-1] >= classes:
            raise ValueError(f"label {present[-1].item()}, of {classes} classes")
        target = (label == present[:, None, None]).to(logits.dtype)
        token, assigned = _assign(logits, class_logits, target, present, settings)
        mask_loss = bce_loss(logits[token], target[assigned])
        segmentation.append((mask_loss + dice_loss(logits[token], target[assigned])).mean())
        class_target = torch.full_like(class_logits[:, 0], classes, dtype=torch.long)
        class_target[token] = present[assigned].long()
        classification.append(F.cross_entropy(class_logits, class_target, class_weight))
    return (
        settings.lambda_seg * torch.stack(segmentation).mean()
        + settings.lambda_cls * torch.stack(classification).mean()
    )


def task_loss(
    prediction: Prediction, labels: Tensor, classes: int, settings: TrainingSettings
) -> Tensor:
    """The loss of a binary task (`classes` is 1) or a multi-class one, in fp32.

    Raises:
        ValueError: labels are none of these classes; see `binary_loss` and `multiclass_loss`.
    """
    if prediction.exclusive:
        return settings.lambda_seg * pixel_loss(prediction, labels)
    if classes == 1:
        return settings.lambda_seg * binary_loss(prediction, labels)
    return multiclass_loss(prediction, labels, classes, settings)


def _resized(masks: Tensor, labels: Tensor) -> Tensor:
    size = (labels.shape[-2], labels.shape[-1])
    return F.interpolate(masks.float(), size, mode="bilinear", align_corners=False)


@torch.no_grad()
def _assign(
    logits: Tensor,
    class_logits: Tensor,
    target: Tensor,
    present: Tensor,
    settings: TrainingSettings,
) -> tuple[Tensor, Tensor]:
    """The cheapest assignment of present classes to tokens, as indices (tokens, classes).

    The cost is the loss times the number of assigned tokens, up to a constant. A token that is
    assigned pays for its class and is spared "no object". The class term is divided by another
    number than the mask term: the sum of the weights of all tokens.
    """
    tokens, pixels = len(logits), logits[0].numel()
    assigned = min(tokens, len(present))
    weights = assigned + settings.no_object_weight * (tokens - assigned)
    flat, mask = logits.flatten(1), target.flatten(1)
    probability = flat.sigmoid()
    bce = (F.softplus(flat).sum(1, keepdim=True) - flat @ mask.T) / pixels
    total = probability.square().sum(1, keepdim=True) + mask.square().sum(1)
    dice = 1 - 2 * (probability @ mask.T) / total
    surprise = -class_logits.log_softmax(-1)
    category = surprise[:, present.long()] - settings.no_object_weight * surprise[:, -1:]
    cost = settings.lambda_seg * (bce + dice) + settings.lambda_cls * category * assigned / weights
    if not bool(cost.isfinite().all()):  # the loss is not finite either, and training stops at it
        cost = torch.nan_to_num(cost, nan=0.0, posinf=0.0, neginf=0.0)
    rows, columns = linear_sum_assignment(cost.cpu().numpy())
    device = logits.device
    return torch.as_tensor(rows, device=device), torch.as_tensor(columns, device=device)
