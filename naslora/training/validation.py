"""Validation during training: a loss and a score on validation images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from naslora.data.masks import IGNORE
from naslora.sam.inference import semantic_probabilities
from naslora.sam.mask_decoder import Prediction
from naslora.training.learner import Learner, diverged
from naslora.training.loaders import ValidationLoader

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def validate(fabric: Fabric, learner: Learner, loader: ValidationLoader) -> dict[str, float]:
    """The loss and the score of a model on validation images, at the model's input size.

    The score is meant for comparing epochs. It is cheaper than the metrics of the test sets: at the
    model's input size, and in the precision of training.

    Args:
        fabric: all processes of a distributed run call this together.
        learner: the model.
        loader: this process's share of the images.

    Returns:
        `val_loss`, the mean loss over images, and `val_score`. For a binary task, the score is the
        mean over images of the foreground's IoU, which is 1 if neither label nor prediction has
        foreground. For a multi-class task, it is the mean IoU of the classes that are in the labels
        or predictions, from the pixels of all images together; without valid pixels there is none.

    Raises:
        DivergedError: the loss is not finite.
    """
    count = max(learner.classes, 2)
    pixels = torch.zeros((count, count), dtype=torch.int64, device=fabric.device)
    # Sums over images: of the loss, of the foreground's IoU, and of 1.
    totals = torch.zeros(3, device=fabric.device)
    learner.sam.eval()
    try:
        for batch in loader:
            prediction, labels, loss = learner.evaluate(batch)
            of_images = confusion_matrices(prediction, labels, count)
            iou = intersection_over_union(of_images)[:, 1].nan_to_num(nan=1.0).sum()
            images = torch.full_like(iou, len(labels))
            totals += torch.stack([loss * images, iou, images])
            pixels += of_images.sum(0)
    finally:
        learner.sam.train()
    if fabric.world_size > 1:
        totals = cast(Tensor, fabric.all_reduce(totals, reduce_op="sum"))
        pixels = cast(Tensor, fabric.all_reduce(pixels, reduce_op="sum"))
    loss_sum, iou_sum, images_seen = totals.tolist()
    if not math.isfinite(loss_sum):
        raise diverged(f"the validation loss is {loss_sum}")
    scores = {"val_loss": loss_sum / images_seen}
    if learner.classes == 1:
        return scores | {"val_score": iou_sum / images_seen}
    mean = float(intersection_over_union(pixels.cpu()).nanmean())
    return scores if math.isnan(mean) else scores | {"val_score": mean}


def intersection_over_union(pixels: Tensor) -> Tensor:
    """IoU (..., K) of each class from confusion matrices (..., K, K); NaN for 0/0."""
    shared = pixels.diagonal(dim1=-2, dim2=-1)
    return shared / (pixels.sum(-2) + pixels.sum(-1) - shared)


@torch.no_grad()
def confusion_matrices(prediction: Prediction, labels: Tensor, count: int) -> Tensor:
    """Count each image's pixels by label and predicted class; void ones do not count.

    Args:
        prediction: of B images.
        labels: (B, H, W) with values 0..count-1 and `IGNORE`.
        count: of classes, 2 for a binary task.

    Returns:
        int64 (B, count, count), on the labels' device: rows are labels, columns predictions.
    """
    size = (labels.shape[-2], labels.shape[-1])
    found = []
    for index, label in enumerate(labels):  # one by one: a map per class is large
        maps = semantic_probabilities(prediction.images(slice(index, index + 1)), size)[0]
        predicted = (maps[0] > 0.5).long() if len(maps) == 1 else maps.argmax(0)
        cells = (label.long() * count + predicted)[label != IGNORE]
        found.append(torch.bincount(cells, minlength=count * count))
    return torch.stack(found).view(-1, count, count)
