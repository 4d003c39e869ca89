"""Prompts drawn from the instances of scenes: clicks, boxes, and clicks that correct a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from torch import Tensor

Mask = NDArray[np.bool_]
PADDING, BACKGROUND, FOREGROUND, CORNER = -1, 0, 1, 2
_JITTER = 0.1  # standard deviation of a box corner's shift, as a fraction of the box's side
_FARTHEST = 20 / 1024  # largest shift of a corner, as a fraction of the image's side
LARGEST = 4  # largest number of an image's regions that are prompted
_SMALLEST = 1 / 500  # area of the smallest of them, as a fraction of the image


@dataclass(frozen=True)
class Prompts:
    """N prompts.

    Attributes:
        points: (N, n, 2), x and y in pixels.
        kinds: (N, n); -1 padding, 0 background, 1 foreground, 2 and 3 the corners of a box.
        masks: logits of an earlier mask (N, h, w), or None.
    """

    points: Tensor
    kinds: Tensor
    masks: Tensor | None = None

    def to(self, device: torch.device) -> Prompts:
        """The same prompts on a device."""
        masks = None if self.masks is None else self.masks.to(device)
        return Prompts(self.points.to(device), self.kinds.to(device), masks)

    def chosen(self, rows: Tensor) -> Prompts:
        """Some of the prompts."""
        masks = None if self.masks is None else self.masks[rows]
        return Prompts(self.points[rows], self.kinds[rows], masks)

    def corrected(self, points: Tensor, kinds: Tensor, masks: Tensor) -> Prompts:
        """One more point for each prompt (N, 2) of kinds (N,), and the masks that it corrects.

        Padding comes last, as in Meta's encoder.
        """
        new, kind = points[:, None], kinds[:, None]
        padded = (self.kinds == PADDING).any(1)[:, None]
        # (point, padding) becomes (point, new, padding); (corner, corner) gets the new one behind.
        second = torch.where(padded[..., None], new, self.points[:, 1:])
        third = torch.where(padded[..., None], self.points[:, 1:], new)
        second_kind = torch.where(padded, kind, self.kinds[:, 1:])
        third_kind = torch.where(padded, self.kinds[:, 1:], kind)
        return Prompts(
            torch.cat([self.points[:, :1], second, third], 1),
            torch.cat([self.kinds[:, :1], second_kind, third_kind], 1),
            masks,
        )


def draw_prompts(
    rng: np.random.Generator, instances: Sequence[NDArray[np.uint8]], prompts: int
) -> tuple[Prompts, NDArray[np.bool_]]:
    """Draw prompts for instances of each image, alternating between clicks and boxes.

    Args:
        rng: the stream of the step.
        instances: for each image (S, S), 0 for the ground, with at least one instance.
        prompts: number per image; if it has fewer instances, these are prompted several times.

    Returns:
        The prompts, and their masks, (B * prompts, S, S).
    """
    points, kinds, masks = [], [], []
    for labels in instances:
        numbers = np.unique(labels)
        order = rng.permutation(numbers[numbers > 0])
        for turn in range(prompts):
            mask = labels == order[turn % len(order)]
            click = turn % 2 == 0
            pair, kind = clicked(rng, mask) if click else boxed(rng, mask)
            points.append(pair)
            kinds.append(kind)
            masks.append(mask)
    return (
        Prompts(torch.tensor(np.array(points), dtype=torch.float32), torch.tensor(kinds)),
        np.stack(masks),
    )


Pair = list[tuple[float, float]]


def clicked(rng: np.random.Generator, mask: Mask) -> tuple[Pair, list[int]]:
    """A click on any pixel of a mask, and a padding point."""
    at = rng.choice(np.flatnonzero(mask))
    y, x = divmod(int(at), mask.shape[1])
    return [(x, y), (0, 0)], [FOREGROUND, PADDING]


def centre_click(mask: Mask) -> tuple[Pair, list[int]]:
    """A click on the pixel of a mask that is farthest from its edge, and a padding point."""
    distance = scipy.ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = divmod(int(distance.argmax()), mask.shape[1])
    return [(x, y), (0, 0)], [FOREGROUND, PADDING]


def boxed(rng: np.random.Generator | None, mask: Mask) -> tuple[Pair, list[int]]:
    """The corners of a mask's box, shifted at random if a stream is given."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    corners = np.array([[columns[0], rows[0]], [columns[-1] + 1, rows[-1] + 1]], float)
    if rng is not None:
        most = _FARTHEST * mask.shape[0]
        noise = rng.normal(size=(2, 2)) * _JITTER * (corners[1] - corners[0])
        corners = np.clip(corners + np.clip(noise, -most, most), 0, mask.shape[0])
    (left, top), (right, bottom) = corners.tolist()
    return [(left, top), (right, bottom)], [CORNER, CORNER + 1]


def error_points(rng: np.random.Generator, predicted: Mask, masks: Mask) -> tuple[Tensor, Tensor]:
    """A click on any wrong pixel of each mask (N, S, S): foreground if it was missed.

    Where nothing is wrong it is a click on the mask.

    Returns:
        points (N, 2) and kinds (N,).
    """
    points, kinds = [], []
    for prediction, mask in zip(predicted, masks, strict=True):
        wrong = np.flatnonzero(prediction != mask)
        at = int(rng.choice(wrong if len(wrong) else np.flatnonzero(mask)))
        y, x = divmod(at, mask.shape[1])
        points.append((x, y))
        kinds.append(FOREGROUND if mask[y, x] else BACKGROUND)
    return torch.tensor(points, dtype=torch.float32), torch.tensor(kinds)


def largest_regions(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The largest connected regions (N, S, S) of equal labels; label 0 is the background."""
    from skimage.measure import label

    regions = label(labels, background=0)
    counts = np.bincount(regions.ravel())
    counts[0] = 0
    largest = np.argsort(-counts, kind="stable")[:LARGEST]
    chosen = [number for number in largest if counts[number] >= _SMALLEST * labels.size]
    return np.array([regions == number for number in chosen], dtype=bool)
