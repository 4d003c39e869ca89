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

    They are cheap, and meant for comparing epochs: pixels of all images are counted together, and
    predictions are in the training's precision. The metrics of the test sets are others.

    Args:
        fabric: all processes of a distributed run call this together.
        learner: the model.
        loader: this process's share of the images.

    Returns:
        `val_loss`, the mean of the task's loss over images; `val_score`, the foreground's IoU of a
        binary task, or the mean IoU over the classes that are in the labels or the predictions.
        The score is left out where it would be 0/0: no foreground in any label or prediction.

    Raises:
        DivergedError: the loss is not finite.
    """
    count = max(learner.classes, 2)
    pixels = torch.zeros((count, count), dtype=torch.int64, device=fabric.device)
    totals = torch.zeros(2, device=fabric.device)  # loss and number of images
    learner.sam.eval()
    try:
        for batch in loader:
            prediction, labels, loss = learner.evaluate(batch)
            totals[0] += loss * len(labels)
            totals[1] += len(labels)
            pixels += confusion_matrix(prediction, labels, count)
    finally:
        learner.sam.train()
    if fabric.world_size > 1:
        totals = cast(Tensor, fabric.all_reduce(totals, reduce_op="sum"))
        pixels = cast(Tensor, fabric.all_reduce(pixels, reduce_op="sum"))
    loss_sum, images = totals.tolist()
    if not math.isfinite(loss_sum):
        raise diverged(f"the validation loss is {loss_sum}")
    scores = {"val_loss": loss_sum / images}
    shared = pixels.diagonal()
    union = pixels.sum(0) + pixels.sum(1) - shared
    ratios = [s / u for s, u in zip(shared.tolist(), union.tolist(), strict=True) if u]
    if learner.classes == 1:
        ratios = [int(shared[1]) / int(union[1])] if int(union[1]) else []
    if ratios:
        scores["val_score"] = math.fsum(ratios) / len(ratios)
    return scores


@torch.no_grad()
def confusion_matrix(prediction: Prediction, labels: Tensor, count: int) -> Tensor:
    """Count pixels by label and predicted class; void ones do not count.

    Args:
        prediction: of B images.
        labels: (B, H, W) with values 0..count-1 and `IGNORE`.
        count: of classes, 2 for a binary task.

    Returns:
        int64 (count, count), on the labels' device: rows are labels, columns predictions.
    """
    size = (labels.shape[-2], labels.shape[-1])
    found = torch.zeros(count * count, dtype=torch.int64, device=labels.device)
    for index, label in enumerate(labels):  # one by one: a map per class is large
        maps = semantic_probabilities(prediction.images(slice(index, index + 1)), size)[0]
        predicted = (maps[0] > 0.5).long() if len(maps) == 1 else maps.argmax(0)
        cells = (label.long() * count + predicted)[label != IGNORE]
        found += torch.bincount(cells, minlength=count * count)
    return found.view(count, count)
