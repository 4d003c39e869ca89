"""Predict the images of a test set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from naslora.core.background import prefetch
from naslora.core.errors import SettingsError
from naslora.data.dataset import SegmentationDataset
from naslora.data.manifest import Manifest
from naslora.data.prepare import prepared_images
from naslora.sam.building import Sam
from naslora.sam.inference import class_numbers, semantic_probabilities
from naslora.sam.mask_decoder import Prediction
from naslora.study.settings import Study

# The prediction for an image, (H, W): foreground probabilities, float32, or class numbers, uint8.
Predicted = NDArray[Any]


@torch.inference_mode()
def predictions(study: Study, manifest: Manifest, test_set: str, sam: Sam) -> Iterator[Predicted]:
    """The predictions for all images of a test set, at the size of the evaluation settings.

    Yields:
        (H, W), in the manifest's order: for a binary task foreground probabilities, float32 in
        [0, 1]; else class numbers, uint8.

    Raises:
        DivergedError: class scores are not finite.
        SettingsError: the GPU's memory is too small for a batch.
    """
    images = test_images(study, manifest, test_set)
    batch_size = study.evaluation.batch_size
    device = sam.pixel_mean.device
    every = range(len(images))
    batches = [every[start : start + batch_size] for start in every[::batch_size]]
    stacks = (torch.stack([images[i][0] for i in indices]) for indices in batches)
    for indices, batch in zip(batches, prefetch(stacks), strict=True):
        try:
            prediction = sam(batch.to(device))
        except torch.OutOfMemoryError as error:
            raise SettingsError(
                f"the GPU's memory is too small: {str(error).splitlines()[0]}",
                remedy="lower evaluation.batch_size",
            ) from error
        for position, index in enumerate(indices):
            one = prediction.images(slice(position, position + 1))
            yield predicted_map(one, evaluation_size(study, images, index))


def predicted_map(prediction: Prediction, size: tuple[int, int]) -> Predicted:
    """One image's foreground probabilities or class numbers at a size (H, W).

    The maps of all classes, from which class numbers are read, are freed when this returns.

    Raises:
        DivergedError: class scores are not finite.
    """
    maps = semantic_probabilities(prediction, size)
    one = maps[:, 0].float() if maps.shape[1] == 1 else class_numbers(maps)
    return np.asarray(one[0].cpu().numpy())


def test_images(study: Study, manifest: Manifest, test_set: str) -> SegmentationDataset:
    """The images of one test set, at the model's input size."""
    root = prepared_images(study, manifest)
    return SegmentationDataset(manifest, root, test_set, study.sam.image_size)


def evaluation_size(study: Study, images: SegmentationDataset, index: int) -> tuple[int, int]:
    """Height and width at which an image is evaluated."""
    if study.evaluation.size == "input":
        return study.sam.image_size, study.sam.image_size
    sample = images.samples[index]
    return sample.height, sample.width
