"""Scores of a promptable SAM: mean IoU from one click, from a box, and without prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from naslora.training.pretraining.batches import SceneBatch, Stack
from naslora.training.pretraining.losses import intersection_over_union
from naslora.training.pretraining.model import PromptableSam
from naslora.training.pretraining.prompts import Prompts, boxed, centre_click

_BATCH = 16
_INSTANCES = 4  # scored per scene


def validate(model: PromptableSam, stacks: Sequence[Stack]) -> dict[str, float]:
    """Mean IoU over the instances of scenes, at the scenes' own size.

    Args:
        model: is left in training mode.
        stacks: scenes, uint8 (4, S, S).

    Returns:
        `click` (at the pixel farthest from the edge of the instance; of the three candidates the
        one that the model scores highest), `box`, and `prompt_free` (over scenes, what stands out).
    """
    model.eval()
    device = next(model.parameters()).device
    found: dict[str, list[float]] = {"click": [], "box": [], "prompt_free": []}
    with torch.inference_mode():
        for start in range(0, len(stacks), _BATCH):
            batch = SceneBatch.of(list(stacks[start : start + _BATCH]))
            embeddings = model.encode(batch.images.to(device))
            found["prompt_free"] += _iou(model.without_prompts(embeddings), batch.foreground)
            for embedding, instances in zip(embeddings, batch.instances, strict=True):
                masks = np.stack(list(_last_instances(instances)))
                for kind, values in prompted(model, embedding[None], masks).items():
                    found[kind] += values
    model.train()
    return {kind: float(np.mean(values)) for kind, values in found.items()}


def prompted(
    model: PromptableSam, embedding: Tensor, masks: NDArray[np.bool_]
) -> dict[str, list[float]]:
    """IoU of each mask (N, S, S) of one image, given its embedding (1, C, h, w)."""
    found = prompted_logits(model, embedding, masks)
    return {kind: _iou(logits, masks) for kind, logits in found.items()}


def prompted_logits(
    model: PromptableSam, embedding: Tensor, masks: NDArray[np.bool_]
) -> dict[str, Tensor]:
    """Predict objects of one image from a click at the centre of each, and from its box.

    Args:
        model: in evaluation mode.
        embedding: of the image, (1, C, h, w).
        masks: of the objects, (N, S, S).

    Returns:
        Logits (N, 4h, 4w) by kind of prompt: `click` (of the three candidates the one that the
        model scores highest) and `box`.
    """
    predicted = model(
        embedding, _prompts([centre_click(mask) for mask in masks]).to(embedding.device)
    )
    best = predicted.quality[:, 1:].argmax(1) + 1
    click = predicted.logits[torch.arange(len(masks), device=best.device), best]
    boxes = _prompts([boxed(None, mask) for mask in masks]).to(embedding.device)
    return {"click": click, "box": model(embedding, boxes).logits[:, 0]}


def _prompts(drawn: list[tuple[list[tuple[float, float]], list[int]]]) -> Prompts:
    points = torch.tensor([points for points, _ in drawn], dtype=torch.float32)
    return Prompts(points, torch.tensor([kinds for _, kinds in drawn]))


def _last_instances(instances: NDArray[np.uint8]) -> Iterator[NDArray[np.bool_]]:
    """The objects that were drawn last and, if there are too few, shapes of the ground."""
    for number in np.unique(instances[instances > 0])[-_INSTANCES:]:
        yield instances == number


def _iou(logits: Tensor, masks: NDArray[np.bool_]) -> list[float]:
    size = (masks.shape[-2], masks.shape[-1])
    resized = F.interpolate(logits[:, None], size, mode="bilinear", align_corners=False)
    target = torch.from_numpy(masks.astype(np.float32)).to(logits.device)
    values: list[float] = intersection_over_union(resized, target)[:, 0].tolist()
    return values
