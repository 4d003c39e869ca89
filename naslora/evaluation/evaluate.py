"""Evaluation of a trained run on its task's test sets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import torch

from naslora.core.background import map_in_background
from naslora.core.errors import DivergedError
from naslora.core.files import whole_file
from naslora.data.benchmarks.contract import Benchmark, get_benchmark
from naslora.data.manifest import Manifest, read_manifest
from naslora.evaluation.loading import evaluation_device, trained_sam
from naslora.evaluation.metrics import make_metrics
from naslora.evaluation.predictions import Predicted, predictions, test_images
from naslora.evaluation.receipts import current_receipt
from naslora.methods.registry import get_method, load_method_files
from naslora.sam.building import Sam
from naslora.study.layout import Layout
from naslora.study.provenance import provenance
from naslora.study.records import FileHash, Record, write_document
from naslora.study.settings import Study
from naslora.training.device import make_repeatable


def evaluate(study: Study, task: str, variant: str, seed: int) -> Record:
    """Evaluate a run and write its record and per-image metrics.

    Predictions are made in single precision, whatever the precision of training. A run that
    diverged gets a record with that status and without metrics; so does one whose predictions are
    not finite.

    Raises:
        RecordError: the run's receipt is missing or damaged, or its settings, weights, checkpoint
            or images differ from the study's present ones.
        SettingsError: the GPU's memory is too small for a batch.
    """
    began = time.perf_counter()
    layout = Layout.of(study)
    receipt = current_receipt(study, task, variant, seed)
    load_method_files(study.method_files.values())
    method = get_method(receipt.settings["method"])
    make_repeatable()
    torch.set_num_threads(study.training.threads)  # results depend on it in the last bits
    device = evaluation_device(study)
    status, message = receipt.status, receipt.message
    metrics: dict[str, dict[str, float]] = {}
    images: dict[str, int] = {}
    per_image: FileHash | None = None
    rows: list[dict[str, Any]] = []
    sam: Sam | None = None
    if status == "done":
        benchmark = get_benchmark(task)
        manifest = read_manifest(layout.manifest(task))
        sam = trained = trained_sam(study, benchmark, variant, seed, receipt).to(device)
        try:
            metrics, images, rows = score_test_sets(
                study,
                benchmark,
                manifest,
                lambda test_set: predictions(study, manifest, test_set, trained),
            )
        except DivergedError as error:
            status, message = "diverged", error.what
    if status == "done":
        per_image = write_per_image(layout, task, variant, seed, rows)
    else:
        layout.per_image(task, variant, seed).unlink(missing_ok=True)  # of an earlier run
    record = Record(
        status=status,
        message=message,
        study=study.study,
        task=task,
        variant=variant,
        method=method.name,
        title=method.title,
        seed=seed,
        training=receipt,
        evaluation=study.evaluation.model_dump(mode="json"),
        manifest_sha256=receipt.manifest_sha256,
        metrics=metrics,
        images=images,
        per_image=per_image,
        evaluation_time_s=time.perf_counter() - began,
        provenance=provenance(device, sam),
    )
    write_document(layout.record(task, variant, seed), record)
    return record


def score_test_sets(
    study: Study,
    benchmark: Benchmark,
    manifest: Manifest,
    predict: Callable[[str], Iterator[Predicted]],
) -> tuple[dict[str, dict[str, float]], dict[str, int], list[dict[str, Any]]]:
    """Metrics and number of images by test set, and the metrics of each image.

    Args:
        study: the study, whose evaluation settings give the size.
        benchmark: the task's benchmark.
        manifest: the task's manifest.
        predict: returns the predictions for the images of a test set, in the manifest's order.
    """
    metrics: dict[str, dict[str, float]] = {}
    images: dict[str, int] = {}
    rows: list[dict[str, Any]] = []
    for test_set in manifest.evaluated:
        predicted = predict(test_set)
        metrics[test_set], set_rows = _score(study, benchmark, manifest, test_set, predicted)
        images[test_set] = len(set_rows)
        rows += set_rows
    return metrics, images, rows


def _score(
    study: Study,
    benchmark: Benchmark,
    manifest: Manifest,
    test_set: str,
    predicted: Iterator[Predicted],
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Metrics of one test set, over the set and per image."""
    images = test_images(study, manifest, test_set)
    metrics = make_metrics(benchmark.classes, benchmark.metrics)

    def row(numbered: tuple[int, Predicted]) -> dict[str, Any]:
        index, prediction = numbered
        if study.evaluation.size == "input":
            target = images[index][1].numpy()
        else:
            target = images.native_mask(index)
        values = metrics.update(prediction, target)
        return {"test_set": test_set, "id": images.samples[index].id, **values}

    rows = list(map_in_background(row, enumerate(predicted)))
    return metrics.compute(), rows


def write_per_image(
    layout: Layout, task: str, variant: str, seed: int, rows: list[dict[str, Any]]
) -> FileHash:
    """Write per-image metrics as a Parquet file next to the record.

    Raises:
        DiskError: the file cannot be written.
    """
    path = layout.per_image(task, variant, seed)
    with whole_file(path) as temporary:
        pd.DataFrame(rows).to_parquet(temporary, index=False)
    return FileHash.of(path)
