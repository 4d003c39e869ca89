"""What runs predict for the images that a figure shows, anew from their adapter weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from naslora.data.dataset import SegmentationDataset
from naslora.data.manifest import read_manifest
from naslora.evaluation.loading import current_receipt, evaluation_device, trained_sam
from naslora.evaluation.predictions import Predicted, predicted_map, test_images
from naslora.report.figures.choice import RANKS, Choice, Rank
from naslora.study.layout import Layout
from naslora.study.settings import Study


def chosen_images(
    study: Study, choice: Choice, ranks: Sequence[Rank] = RANKS
) -> tuple[SegmentationDataset, list[int]]:
    """The test set of a choice, and the places there of its images of these ranks."""
    manifest = read_manifest(Layout.of(study).manifest(choice.benchmark.name))
    images = test_images(study, manifest, choice.test_set)
    places = {sample.id: index for index, sample in enumerate(images.samples)}
    return images, [places[choice.chosen[rank]] for rank in ranks]


def predict(
    study: Study,
    choice: Choice,
    method: str,
    seed: int,
    images: SegmentationDataset,
    indices: list[int],
) -> list[Predicted]:
    """What a run predicts for some images, at their own sizes.

    Raises:
        RecordError: weights, checkpoint or images are not those of the run.
    """
    receipt = current_receipt(study, choice.benchmark.name, method, seed)
    device = evaluation_device(study)
    sam = trained_sam(study, choice.benchmark, method, seed, receipt).to(device)
    with torch.inference_mode():
        prediction = sam(torch.stack([images[i][0] for i in indices]).to(device))
        return [
            predicted_map(
                prediction.images(slice(place, place + 1)),
                (images.samples[i].height, images.samples[i].width),
            )
            for place, i in enumerate(indices)
        ]
