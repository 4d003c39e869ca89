"""Two predictions that need no training, and that any method must beat.

The blank mask says "background" everywhere. The mean training mask says at each pixel how often
it was foreground in the training images: the best guess of someone who has not seen the image. For
several classes it says the class that was there most often.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from naslora.core.files import sha256
from naslora.data.benchmarks.contract import Benchmark, get_benchmark
from naslora.data.dataset import mean_mask
from naslora.data.manifest import Manifest, read_manifest
from naslora.data.prepare import prepared_images
from naslora.evaluation.evaluate import score, write_per_image
from naslora.evaluation.predictions import Predicted, evaluation_size, test_images
from naslora.sam.inference import class_numbers
from naslora.study.layout import Layout
from naslora.study.provenance import provenance
from naslora.study.records import CONTROLS, Record, write_document
from naslora.study.settings import Study

Control = Callable[[tuple[int, int]], Predicted]


def evaluate_controls(study: Study, task: str) -> list[Path]:
    """Evaluate both controls on a task and write a record of each."""
    layout = Layout.of(study)
    benchmark = get_benchmark(task)
    manifest = read_manifest(layout.manifest(task))
    mean = mean_mask(manifest, prepared_images(study, manifest), size=study.sam.image_size)
    controls: dict[str, Control] = {
        "control_blank": lambda size: _blank(benchmark, size),
        "control_mean_mask": lambda size: _resized(mean, size),
    }
    return [
        _evaluate_control(study, benchmark, manifest, name, control)
        for name, control in controls.items()
    ]


def _evaluate_control(
    study: Study, benchmark: Benchmark, manifest: Manifest, name: str, control: Control
) -> Path:
    began = time.perf_counter()
    layout = Layout.of(study)
    metrics: dict[str, dict[str, float]] = {}
    images: dict[str, int] = {}
    rows: list[dict[str, Any]] = []
    for test_set in manifest.evaluated:
        predicted = _predictions(study, manifest, test_set, control)
        metrics[test_set], set_rows = score(study, benchmark, manifest, test_set, predicted)
        images[test_set] = len(set_rows)
        rows += set_rows
    path = layout.record(benchmark.name, name, 0)
    record = Record(
        status="done",
        study=study.study,
        task=benchmark.name,
        variant=name,
        method=name,
        title=CONTROLS[name],
        seed=0,
        training=None,
        evaluation=study.evaluation.model_dump(mode="json"),
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


def _blank(benchmark: Benchmark, size: tuple[int, int]) -> Predicted:
    """Background everywhere: no foreground probability, or class 0."""
    binary = len(benchmark.classes) == 1
    return np.zeros(size, dtype=np.float32 if binary else np.uint8)


def _resized(mean: NDArray[np.float32], size: tuple[int, int]) -> Predicted:
    """The mean mask (S, S) at another size; of one per class (K, S, S), each pixel's likeliest."""
    maps = torch.from_numpy(mean).reshape(1, -1, *mean.shape[-2:])
    resized = F.interpolate(maps, size, mode="bilinear", align_corners=False)
    if mean.ndim == 2:
        return np.asarray(resized[0, 0].numpy(), dtype=np.float32)
    return np.asarray(class_numbers(resized)[0].numpy(), dtype=np.uint8)
