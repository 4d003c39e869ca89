"""The paper's losses: binary cross-entropy and Dice on masks, cross-entropy on classes.

Pixels whose label is `IGNORE` (255) are void: they count in no term.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from naslora.data.masks import IGNORE
from naslora.sam.mask_decoder import Prediction
from naslora.study.settings import TrainingSettings
from naslora.training.labels import check_labels
from naslora.training.pixel_loss import pixel_loss


def bce_loss(
    logits: Tensor, target: Tensor, valid: Tensor | None = None, weight: Tensor | None = None
) -> Tensor:
    """Binary cross-entropy, mean over pixels (eq. 9).

    Args:
        logits: (N, H, W) mask logits.
        target: (N, H, W) with values 0 and 1.
        valid: (N, H, W) with 1 where pixels count and 0 elsewhere; by default all count.
        weight: (N, H, W), a factor for each pixel; by default 1.

    Returns:
        (N,) one loss per mask; 0 for a mask without valid pixels.
    """
    loss = F.binary_cross_entropy_with_logits(logits, target, weight, reduction="none").flatten(1)
    if valid is None:
        return loss.mean(1)
    valid = valid.flatten(1)
    return (loss * valid).sum(1) / valid.sum(1).clamp_min(1)


def dice_loss(logits: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Dice loss with squared denominators (eq. 10).

    An empty target gives a loss of 1 whatever is predicted, as eq. 10 does; no smoothing term
    is added to its numerator.

    Args:
        logits: (N, H, W) mask logits.
        target: (N, H, W) with values 0 and 1; 0 where pixels do not count.
        valid: (N, H, W) with 1 where pixels count and 0 elsewhere; by default all count.

    Returns:
        (N,) one loss per mask.
    """
    probability = logits.sigmoid().flatten(1)
    if valid is not None:
        probability = probability * valid.flatten(1)
    target = target.flatten(1)
    overlap = (probability * target).sum(1)
    total = target.square().sum(1) + probability.square().sum(1)
    return 1 - 2 * overlap / total.clamp_min(torch.finfo(total.dtype).tiny)


def binary_loss(
    prediction: Prediction, labels: Tensor, class_weights: Tensor | None = None
) -> Tensor:
    """The segmentation loss of a binary task: cross-entropy plus Dice, mean over images.

    Args:
        prediction: masks of shape (B, T, h, w), of which the first counts.
        labels: (B, H, W) with values 0, 1 and `IGNORE`.
        class_weights: (2,) weights of background and foreground in the cross-entropy.

    Returns:
        A scalar. Images without a valid pixel do not count; it is 0 if there is no other.

    Raises:
        ValueError: a label is none of these; see `check_labels`.
    """
    check_labels(labels, 1)
    valid = (labels != IGNORE).float()
    target = (labels == 1).float()
    weight = None
    if class_weights is not None:
        weight = torch.where(labels == 1, class_weights[1], class_weights[0])
    logits = _resized(prediction.masks[:, :1], labels).squeeze(1)
    loss = bce_loss(logits, target, valid, weight) + dice_loss(logits, target, valid)
    counted = valid.flatten(1).amax(1)
    return (loss * counted).sum() / counted.sum().clamp_min(1)


def multiclass_loss(
    prediction: Prediction,
    labels: Tensor,
    classes: int,
    settings: TrainingSettings,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Loss of a multi-class task (eq. 8), classes assigned to mask tokens as Mask2Former does.

    Each class that is present in an image, the background included, is assigned to one mask token
    by the Hungarian method, so that the image's loss is minimal over all assignments. Assigned
    tokens learn their class and its mask; the others learn "no object", with a lower weight, since
    they are many.

    Args:
        prediction: masks of shape (B, T, h, w) and class logits of shape (B, T, K + 1).
        labels: (B, H, W) with values 0..K-1 and `IGNORE`.
        classes: K.
        settings: the weights of the terms.
        class_weights: (K,) weights of the classes in the class term.

    Returns:
        A scalar. Images without a valid pixel do not count; it is 0 if there is no other.

    Raises:
        ValueError: the decoder has no class branch, or a label is none of these; see
            `check_labels`.
    """
    if prediction.class_logits is None:
        raise ValueError("a multi-class task needs a decoder with a class branch")
    check_labels(labels, classes)
    masks = _resized(prediction.masks, labels)
    class_weight = masks.new_ones(classes + 1)
    if class_weights is not None:
        class_weight[:classes] = class_weights
    class_weight[classes] = settings.no_object_weight
    segmentation, classification = [], []
    for logits, class_logits, label in zip(
        masks, prediction.class_logits.float(), labels, strict=True
    ):
        present = label.unique()
        present = present[present != IGNORE].long()
        if not len(present):
            continue
        valid = (label != IGNORE).to(logits.dtype)
        target = (label == present[:, None, None]).to(logits.dtype)
        token, assigned = _assign(
            logits, class_logits, target, valid, present, class_weight, settings
        )
        valid = valid.expand(len(token), -1, -1)
        mask_loss = bce_loss(logits[token], target[assigned], valid)
        dice = dice_loss(logits[token], target[assigned], valid)
        segmentation.append((mask_loss + dice).mean())
        class_target = torch.full_like(class_logits[:, 0], classes, dtype=torch.long)
        class_target[token] = present[assigned]
        classification.append(F.cross_entropy(class_logits, class_target, class_weight))
    if not segmentation:
        return 0 * (masks.sum() + prediction.class_logits.sum())
    return (
        settings.lambda_seg * torch.stack(segmentation).mean()
        + settings.lambda_cls * torch.stack(classification).mean()
    )


def task_loss(
    prediction: Prediction,
    labels: Tensor,
    classes: int,
    settings: TrainingSettings,
    class_weights: Tensor | None = None,
) -> Tensor:
    """The loss of a binary task (`classes` is 1) or a multi-class one, in fp32.

    Raises:
        ValueError: labels are none of these classes; see `check_labels`.
    """
    if prediction.exclusive:
        return settings.lambda_seg * pixel_loss(prediction, labels, class_weights)
    if classes == 1:
        return settings.lambda_seg * binary_loss(prediction, labels, class_weights)
    return multiclass_loss(prediction, labels, classes, settings, class_weights)


def _resized(masks: Tensor, labels: Tensor) -> Tensor:
    size = (labels.shape[-2], labels.shape[-1])
    return F.interpolate(masks.float(), size, mode="bilinear", align_corners=False)


@torch.no_grad()
def _assign(
    logits: Tensor,
    class_logits: Tensor,
    target: Tensor,
    valid: Tensor,
    present: Tensor,
    class_weight: Tensor,
    settings: TrainingSettings,
) -> tuple[Tensor, Tensor]:
    """The cheapest assignment of present classes to tokens, as indices (tokens, classes).

    The cost is the loss times the number of assigned tokens, up to a constant. An assigned token
    pays for its class instead of for "no object". The mask term is divided by the number of
    assigned tokens, the class term by the sum of all tokens' weights. With class weights and fewer
    tokens than classes, that sum depends on the assignment; it is then computed with the mean
    weight of the classes.
    """
    tokens = len(logits)
    assigned = min(tokens, len(present))
    class_weights, no_object = class_weight[present], settings.no_object_weight
    weights = assigned * class_weights.mean() + no_object * (tokens - assigned)
    flat, mask, valid = logits.flatten(1), target.flatten(1), valid.flatten()
    probability = flat.sigmoid() * valid
    pixels = valid.sum()
    bce = ((F.softplus(flat) * valid).sum(1, keepdim=True) - flat @ mask.T) / pixels
    total = probability.square().sum(1, keepdim=True) + mask.square().sum(1)
    dice = 1 - 2 * (probability @ mask.T) / total
    nll = -class_logits.log_softmax(-1)
    category = class_weights * nll[:, present] - no_object * nll[:, -1:]
    cost = settings.lambda_seg * (bce + dice) + settings.lambda_cls * category * assigned / weights
    costs = cost.cpu().numpy()
    if not np.isfinite(costs).all():  # the loss is not finite either, and training stops at it
        costs = np.nan_to_num(costs, nan=0.0, posinf=0.0, neginf=0.0)
    rows, columns = linear_sum_assignment(costs)
    device = logits.device
    return torch.as_tensor(rows, device=device), torch.as_tensor(columns, device=device)
