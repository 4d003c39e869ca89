"""Test images with outlines, chosen by rule and predicted anew from adapter weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from naslora.data.benchmark import Benchmark, get_benchmark
from naslora.data.dataset import SegmentationDataset
from naslora.data.manifest import read_manifest
from naslora.errors import RecordError
from naslora.evaluation.evaluate import evaluation_device, test_images, trained_sam
from naslora.layout import Layout
from naslora.methods.registry import get_method, load_method_files
from naslora.records import read_record
from naslora.report.outlines import choose_images, draw_outlines
from naslora.sam.inference import semantic_probabilities
from naslora.settings import Study

IMAGES = 3


def draw_visual_comparison(study: Study, path: Path) -> None:
    """Draw the best, median and worst test image of the reference run, with all methods.

    The reference is the study's last method at its first seed, on the first binary task; images
    are ranked by its IoU.

    Raises:
        RecordError: no run of the reference or of another method is done.
        DiskError: the file cannot be written.
    """
    load_method_files(study.method_files.values())
    layout = Layout.of(study)
    benchmark = _first_binary(study)
    reference, seed = study.methods[-1], study.seeds[0]
    iou = _iou(layout, benchmark, reference, seed)
    chosen = choose_images(iou, IMAGES)
    test_set = benchmark.test_sets[0]
    images = test_images(study, read_manifest(layout.manifest(benchmark.name)), test_set)
    index = {sample.id: i for i, sample in enumerate(images.samples)}
    indices = [index[name] for name in chosen]
    predictions = {
        get_method(method).title: predicted
        for method in study.methods
        if (predicted := _predict(study, benchmark, method, seed, images, indices)) is not None
    }
    draw_outlines(
        [images.native_image(i) for i in indices],
        [images.native_mask(i) for i in indices],
        predictions,
        list(chosen.values()),
        path,
        f"{benchmark.title}, seed {seed}; {', '.join(chosen.values())} of {len(iou)} test images"
        f" by the IoU of {get_method(reference).title}",
    )


def _first_binary(study: Study) -> Benchmark:
    for task in study.tasks:
        benchmark = get_benchmark(task)
        if len(benchmark.classes) == 1:
            return benchmark
    raise RecordError(
        "outlines are drawn for binary tasks, and this study has none",
        remedy="add one to the study's tasks",
    )


def _iou(layout: Layout, benchmark: Benchmark, variant: str, seed: int) -> dict[str, float]:
    """IoU per test image of a run."""
    record_path = layout.record(benchmark.name, variant, seed)
    record = read_record(record_path)
    if record.per_image is None:
        raise RecordError(
            f"the run that images are chosen by is {record.status}, not done", where=record_path
        )
    rows = pd.read_parquet(layout.per_image(benchmark.name, variant, seed))
    rows = rows[rows["test_set"] == benchmark.test_sets[0]]
    return dict(zip(rows["id"], rows["IoU"], strict=True))


def _predict(
    study: Study,
    benchmark: Benchmark,
    method: str,
    seed: int,
    images: SegmentationDataset,
    indices: list[int],
) -> list[NDArray[np.float32]] | None:
    """Foreground probabilities at the images' own sizes; None for a run that diverged."""
    record = read_record(Layout.of(study).record(benchmark.name, method, seed))
    if record.status != "done" or record.training is None:
        return None
    device = evaluation_device(study)
    sam = trained_sam(study, benchmark, method, seed, record.training).to(device)
    with torch.inference_mode():
        prediction = sam(torch.stack([images[i][0] for i in indices]).to(device))
        return [
            semantic_probabilities(
                prediction.images(slice(row, row + 1)),
                (images.samples[i].height, images.samples[i].width),
            )[0, 0]
            .cpu()
            .numpy()
            for row, i in enumerate(indices)
        ]
