"""Prediction of images of any size by overlapping tiles, blended where they overlap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from naslora.core.errors import DivergedError, SettingsError
from naslora.evaluation.predictions import Predicted
from naslora.sam.building import Sam
from naslora.sam.inference import class_numbers, semantic_probabilities

OVERLAP = 0.25  # of a tile's side
_BATCH = 4
_LEAST_WEIGHT = 1e-3  # at a tile's border


def tile_size(image: tuple[int, int], training_side: int) -> int | None:
    """The side of tiles for an image of a height and width; None to predict it as a whole.

    An image of up to twice the size that the model was trained on is resized as a whole, as in
    training. A larger one is cut into tiles of that size, so that objects keep their scale.

    Args:
        image: height and width in pixels.
        training_side: the longer side in pixels of the images that the model was trained on, or the
            model's input size where that is unknown.
    """
    return training_side if max(image) > 2 * training_side else None


def tile_starts(length: int, tile: int, overlap: float = OVERLAP) -> list[int]:
    """First pixels of tiles that cover `length` pixels, each overlapping the next.

    The first tile begins at 0, and the last ends at `length`. If `length` is at most that of a
    tile, there is one tile.
    """
    if length <= tile:
        return [0]
    step = max(1, int(tile * (1 - overlap)))
    count = -(-(length - tile) // step) + 1
    return [round(i * (length - tile) / (count - 1)) for i in range(count)]


@torch.inference_mode()
def predict_tiled(sam: Sam, pixels: NDArray[np.uint8], tile: int | None) -> Iterator[Predicted]:
    """Predict an image in strips from top to bottom, at its own size.

    A tile is resized to the model's input size, and its prediction back. Where tiles overlap, the
    predictions are averaged with weights that fall from a tile's centre to its border along a
    raised cosine. Besides the image, only one row of tiles is held in memory.

    Args:
        sam: adapted, in evaluation mode, on any device.
        pixels: (H, W, 3).
        tile: the side of tiles in pixels; None for one tile of the image's size.

    Yields:
        Strips (h, W) that make up the image: for a binary task foreground probabilities, float32
        in [0, 1]; else class numbers, uint8.

    Raises:
        DivergedError: a prediction is not finite.
        SettingsError: the GPU's memory is too small for the tiles.
    """
    height, width = pixels.shape[:2]
    tile_h, tile_w = (height, width) if tile is None else (min(tile, height), min(tile, width))
    rows, columns = tile_starts(height, tile_h), tile_starts(width, tile_w)
    if len(rows) == len(columns) == 1:  # the image is predicted as a whole
        yield _finished(_scores(sam, [pixels])[0], sam.classes)
        return
    window = torch.outer(_window(tile_h), _window(tile_w))
    sums = torch.zeros(sam.classes, tile_h, width)
    weights = torch.zeros(tile_h, width)
    for index, row in enumerate(rows):
        for begin in range(0, len(columns), _BATCH):
            batch = columns[begin : begin + _BATCH]
            crops = [pixels[row : row + tile_h, column : column + tile_w] for column in batch]
            for column, scores in zip(batch, _scores(sam, crops), strict=True):
                sums[:, :, column : column + tile_w] += scores * window
                weights[:, column : column + tile_w] += window
        done = (rows[index + 1] if index + 1 < len(rows) else row + tile_h) - row
        yield _finished(sums[:, :done] / weights[:done], sam.classes)
        sums = F.pad(sums[:, done:], (0, 0, 0, done))
        weights = F.pad(weights[done:], (0, 0, 0, done))


def _scores(sam: Sam, crops: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Probabilities or class scores (B, K, h, w) of crops of one size, on the CPU."""
    height, width = sam.image_size
    resized = [
        np.array(Image.fromarray(crop).resize((width, height), Image.Resampling.BILINEAR))
        for crop in crops
    ]
    batch = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2)
    try:
        prediction = sam(batch.to(sam.pixel_mean.device))
        return semantic_probabilities(prediction, crops[0].shape[:2]).float().cpu()
    except torch.OutOfMemoryError as error:
        raise SettingsError(
            f"the GPU's memory is too small: {str(error).splitlines()[0]}",
            remedy="choose another --device, or a smaller --tile",
        ) from error


def _finished(scores: Tensor, classes: int) -> Predicted:
    """Scores (K, h, w) as probabilities or class numbers (h, w)."""
    if classes > 1:
        return np.asarray(class_numbers(scores[None])[0].numpy())
    if not bool(scores.isfinite().all()):
        raise DivergedError("the model predicts values that are not finite")
    return np.asarray(scores[0].numpy())


def _window(length: int) -> Tensor:
    """A raised cosine over a tile's pixels, greatest in the middle and positive at the border."""
    position = (torch.arange(length) + 0.5) / length
    return (torch.sin(torch.pi * position) ** 2).clamp(min=_LEAST_WEIGHT)
