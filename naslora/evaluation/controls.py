"""Controls: predictions that are the same for every image, which a method has to beat.

Each is made from the training masks alone, resized to the model's input and averaged:

- `control_blank` predicts background everywhere;
- `control_foreground` predicts foreground everywhere; with several foreground classes, the one
  with the most pixels;
- `control_mean_mask` predicts at each pixel the share of masks in which it is foreground (metrics
  that need a mask threshold it at 0.5); with several classes, the most frequent class;
- `control_mean_mask_best` predicts foreground where that share is above the threshold that scores
  best on the training masks; with several classes, the most frequent foreground class.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from naslora.core.files import sha256
from naslora.data.benchmarks.contract import Benchmark, get_benchmark
from naslora.data.dataset import SegmentationDataset, mean_mask
from naslora.data.manifest import Manifest, read_manifest
from naslora.data.masks import IGNORE
from naslora.data.prepare import prepared_images
from naslora.evaluation.evaluate import score_test_sets, write_per_image
from naslora.evaluation.names import main_metric
from naslora.evaluation.predictions import Predicted, evaluation_size, test_images
from naslora.study.layout import Layout
from naslora.study.provenance import provenance
from naslora.study.records import CONTROLS, Record, write_document
from naslora.study.settings import Study

Control = Callable[[tuple[int, int]], Predicted]
# Candidate thresholds for a mean mask.
THRESHOLDS = np.arange(1, 100) / 100


def evaluate_controls(study: Study, task: str) -> list[Path]:
    """Evaluate the controls on a task, and write a record of each.

    Returns:
        The records' files, in the order of `CONTROLS`.

    Raises:
        ManifestError, AuditError: an image or a mask is missing, or cannot be decoded.
        DiskError: a record cannot be written.
    """
    benchmark = get_benchmark(task)
    manifest = read_manifest(Layout.of(study).manifest(task))
    root = prepared_images(study, manifest)
    mean, valid = mean_mask(manifest, root, size=study.sam.image_size)
    if len(benchmark.classes) == 1:
        masks = SegmentationDataset(manifest, root, "train", study.sam.image_size)
        threshold = (
            least_ber_threshold(mean, valid)
            if main_metric(benchmark.metrics) == "BER"
            else best_iou_threshold(mean, (masks.labels(i) for i in range(len(masks))))
        )
        controls = binary_controls(mean, threshold)
    else:
        threshold = best_miou_threshold(mean, valid)
        controls = multiclass_controls(mean, valid, threshold)
    messages = {
        "control_mean_mask_best": f"threshold {threshold:g}, the best on the training masks"
    }
    return [
        _evaluate_control(study, benchmark, manifest, name, control, messages.get(name))
        for name, control in controls.items()
    ]


def binary_controls(mean: NDArray[np.float32], threshold: float) -> dict[str, Control]:
    """The controls of a binary task, as foreground probabilities, float32.

    Args:
        mean: (S, S), the share of training masks in which a pixel is foreground.
        threshold: of `control_mean_mask_best`.
    """
    return {
        "control_blank": lambda size: np.zeros(size, np.float32),
        "control_foreground": lambda size: np.ones(size, np.float32),
        "control_mean_mask": lambda size: _resized(mean[None], size)[0],
        "control_mean_mask_best": lambda size: _above(
            _resized(mean[None], size)[0], threshold
        ).astype(np.float32),
    }


def multiclass_controls(
    mean: NDArray[np.float32], valid: NDArray[np.int64], threshold: float
) -> dict[str, Control]:
    """The controls of a task with K classes, as class numbers, uint8; 0 is the background.

    Args:
        mean: (K, S, S), the share of training masks in which a pixel has each class.
        valid: (S, S), the number of training masks in which a pixel is not void.
        threshold: of the total share of foreground, for `control_mean_mask_best`.
    """
    pixels = mean[1:] * _weights(valid).astype(np.float32)
    commonest = 1 + int(pixels.mean(axis=(1, 2)).argmax())
    return {
        "control_blank": lambda size: np.zeros(size, np.uint8),
        "control_foreground": lambda size: np.full(size, commonest, np.uint8),
        "control_mean_mask": lambda size: _resized(mean, size).argmax(0).astype(np.uint8),
        "control_mean_mask_best": lambda size: _cut(_resized(mean, size), threshold),
    }


def best_iou_threshold(mean: NDArray[np.float32], masks: Iterable[NDArray[np.uint8]]) -> float:
    """The threshold of a mean mask with the highest mean IoU over masks; ties go to the lowest.

    Args:
        mean: (S, S).
        masks: (S, S) each, 0, 1 or `IGNORE`, in any order.
    """
    # Number of thresholds below the pixel's mean: the pixel is foreground for exactly those.
    below = np.searchsorted(THRESHOLDS, mean.ravel(), side="left")
    size = len(THRESHOLDS) + 1
    everywhere = _from_above(np.bincount(below, minlength=size))
    total = np.zeros(len(THRESHOLDS))
    for mask in masks:
        flat, void = mask.ravel() == 1, mask.ravel() == IGNORE
        intersection = _from_above(np.bincount(below[flat], minlength=size))
        predicted = everywhere - _from_above(np.bincount(below[void], minlength=size))
        union = predicted + np.count_nonzero(flat) - intersection
        total += np.divide(intersection, union, out=np.ones(len(intersection)), where=union > 0)
    return float(THRESHOLDS[total.argmax()])


def least_ber_threshold(mean: NDArray[np.float32], valid: NDArray[np.int64]) -> float:
    """The threshold of a mean mask with the lowest balanced error over all training pixels.

    Args:
        mean: (S, S), the share of training masks in which a pixel is foreground.
        valid: (S, S), the number of training masks in which a pixel is not void.
    """
    share, weights = mean.astype(np.float64), _weights(valid)
    foreground, background = share * weights, (1 - share) * weights
    errors = []
    for threshold in THRESHOLDS:
        chosen = _above(mean, threshold)
        misses = foreground[~chosen].sum() / max(foreground.sum(), 1e-12)
        false_alarms = background[chosen].sum() / max(background.sum(), 1e-12)
        errors.append(misses + false_alarms)
    return float(THRESHOLDS[int(np.argmin(errors))])


def best_miou_threshold(mean: NDArray[np.float32], valid: NDArray[np.int64]) -> float:
    """The threshold of the foreground share with the highest foreground mIoU on training masks.

    Since the prediction is the same for all images, pixel counts of the whole set follow from the
    mean maps.

    Args:
        mean: (K, S, S), the share of training masks in which a pixel has each class.
        valid: (S, S), the number of training masks in which a pixel is not void.
    """
    weights = _weights(valid)
    shares = mean.astype(np.float64) * weights
    number = len(shares)
    scores = []
    for threshold in THRESHOLDS:
        predicted = _cut(mean, threshold)
        iou = []
        for index in range(1, number):
            chosen = predicted == index
            intersection = shares[index][chosen].sum()
            union = weights[chosen].sum() + shares[index].sum() - intersection
            if union > 0:
                iou.append(intersection / union)
        scores.append(np.mean(iou) if iou else 0.0)
    return float(THRESHOLDS[int(np.argmax(scores))])


def _from_above(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each threshold, the number of pixels whose mean is above it."""
    return np.asarray(counts[::-1].cumsum()[::-1][1:])


def _weights(valid: NDArray[np.int64]) -> NDArray[np.float64]:
    """The share of masks in which each pixel counts; exactly 1 where no mask has void pixels."""
    return valid / max(int(valid.max()), 1)


def _above(mean: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """Whether values are above a threshold, in float64: 0.3 in float32 is above 0.3."""
    return mean > np.float64(threshold)


def _cut(mean: NDArray[np.float32], threshold: float) -> NDArray[np.uint8]:
    """The commonest foreground class of each pixel whose foreground share is above a threshold."""
    foreground = _above(mean[1:].sum(axis=0), threshold)
    return np.where(foreground, 1 + mean[1:].argmax(axis=0), 0).astype(np.uint8)


def _evaluate_control(
    study: Study,
    benchmark: Benchmark,
    manifest: Manifest,
    name: str,
    control: Control,
    message: str | None,
) -> Path:
    began = time.perf_counter()
    layout = Layout.of(study)
    predict = partial(_predictions, study, manifest, control=control)
    metrics, images, rows = score_test_sets(study, benchmark, manifest, predict)
    path = layout.record(benchmark.name, name, 0)
    record = Record(
        status="done",
        message=message,
        study=study.study,
        task=benchmark.name,
        variant=name,
        method=name,
        title=CONTROLS[name],
        seed=0,
        training=None,
        evaluation={
            **study.evaluation.model_dump(mode="json"),
            "image_size": study.sam.image_size,
        },
        manifest_sha256=sha256(layout.manifest(benchmark.name)),
        metrics=metrics,
        images=images,
        per_image=write_per_image(layout, benchmark.name, name, 0, rows),
        evaluation_time_s=time.perf_counter() - began,
        provenance=provenance(torch.device("cpu")),
    )
    write_document(path, record)
    return path


def _predictions(
    study: Study, manifest: Manifest, test_set: str, control: Control
) -> Iterator[Predicted]:
    images = test_images(study, manifest, test_set)
    for index in range(len(images)):
        yield control(evaluation_size(study, images, index))


def _resized(maps: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Maps (K, S, S) at another size (H, W), bilinearly."""
    resized = F.interpolate(
        torch.from_numpy(maps)[None], size, mode="bilinear", align_corners=False
    )
    return np.asarray(resized[0].numpy(), dtype=np.float32)
