"""Evaluation of a trained run on its task's test sets."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from naslora.core.errors import DivergedError, RecordError, SettingsError
from naslora.core.files import sha256, whole_file
from naslora.core.overlap import done_behind, made_ahead
from naslora.data.benchmarks.contract import Benchmark, get_benchmark
from naslora.data.dataset import SegmentationDataset
from naslora.data.manifest import Manifest, read_manifest
from naslora.data.prepare import prepared_images
from naslora.evaluation.metrics import make_metrics
from naslora.methods.registry import get_method, load_method_files
from naslora.methods.state import load_adapter
from naslora.sam.building import Sam
from naslora.sam.inference import class_numbers, semantic_probabilities
from naslora.sam.mask_decoder import Prediction
from naslora.study.layout import Layout
from naslora.study.provenance import provenance
from naslora.study.records import FileHash, Receipt, Record, read_receipt, write_document
from naslora.study.settings import Study
from naslora.training.initial import initial_sam

# Of one image, (H, W): foreground probabilities, float32, or class numbers, uint8.
Predicted = NDArray[Any]


def evaluate(study: Study, task: str, variant: str, seed: int) -> Record:
    """Evaluate a run and write its record and per-image metrics.

    Predictions are made in single precision, whatever the training's. A run that diverged gets a
    record that says so, without metrics; so does one whose predictions are not finite.

    Raises:
        RecordError: the run's receipt is missing or damaged, or its settings, weights, checkpoint
            or images are not those of the study as it stands.
        SettingsError: the GPU's memory is too small for a batch.
    """
    began = time.perf_counter()
    layout = Layout.of(study)
    receipt = current_receipt(study, task, variant, seed)
    load_method_files(study.method_files.values())
    method = get_method(receipt.settings["method"])
    torch.set_num_threads(study.training.threads)  # results depend on it in the last bits
    device = evaluation_device(study)
    status, message = receipt.status, receipt.message
    metrics: dict[str, dict[str, float]] = {}
    images: dict[str, int] = {}
    per_image: FileHash | None = None
    rows: list[dict[str, Any]] = []
    if status == "done":
        benchmark = get_benchmark(task)
        manifest = read_manifest(layout.manifest(task))
        sam = trained_sam(study, benchmark, variant, seed, receipt).to(device)
        try:
            for test_set in manifest.evaluated:
                predicted = predictions(study, manifest, test_set, sam)
                metrics[test_set], set_rows = score(study, benchmark, manifest, test_set, predicted)
                images[test_set] = len(set_rows)
                rows += set_rows
        except DivergedError as error:
            status, message, metrics, images = "diverged", error.what, {}, {}
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
        provenance=provenance(device),
    )
    write_document(layout.record(task, variant, seed), record)
    return record


def current_receipt(study: Study, task: str, variant: str, seed: int) -> Receipt:
    """The receipt of a run that was trained with the settings that the study has now.

    Raises:
        RecordError: it is missing or damaged, or the run was trained with other settings.
    """
    path = Layout.of(study).receipt(task, variant, seed)
    receipt = read_receipt(path)
    if receipt.fingerprint != study.run(task, variant, seed).fingerprint():
        raise RecordError(
            "this run was trained with other settings than the study has now",
            where=path,
            remedy=f"train it again: naslora train --study {study.study} --task {task} "
            f"--variant {variant} --seed {seed}",
        )
    return receipt


def evaluation_device(study: Study) -> torch.device:
    """A GPU if there is one, unless the study is to run on the CPU."""
    gpu = study.training.accelerator != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if gpu else "cpu")


def trained_sam(
    study: Study, benchmark: Benchmark, variant: str, seed: int, receipt: Receipt
) -> Sam:
    """A SAM with a run's adapter weights, ready for inference.

    Raises:
        RecordError: weights, checkpoint or images are not those that the receipt names.
        StateError: the weights do not fit the study's SAM.
    """
    layout = Layout.of(study)
    manifest_path = layout.manifest(benchmark.name)
    if sha256(manifest_path) != receipt.manifest_sha256:
        raise RecordError(
            "this run was trained on another set of images or another split",
            where=manifest_path,
            remedy="train it again",
        )
    adapter = layout.adapter(benchmark.name, variant, seed)
    if (
        receipt.adapter is None
        or not adapter.is_file()
        or sha256(adapter) != receipt.adapter.sha256
    ):
        raise RecordError(
            "the adapter weights are missing or are not those of the receipt beside them",
            where=adapter,
            remedy="delete the run's folder and train it again",
        )
    sam, checkpoint = initial_sam(
        study,
        classes=len(benchmark.classes),
        seed=seed,
        pretrained=get_method(receipt.settings["method"]).pretrained,
    )
    if checkpoint != receipt.checkpoint_sha256:
        raise RecordError(
            "this run was trained from another checkpoint than the study has now",
            where=layout.receipt(benchmark.name, variant, seed),
            remedy="train it again, or bring the checkpoint back",
        )
    load_adapter(sam, adapter)
    return sam.eval()


@torch.inference_mode()
def predictions(study: Study, manifest: Manifest, test_set: str, sam: Sam) -> Iterator[Predicted]:
    """What is predicted for each test image, at the size that the evaluation settings name.

    Yields:
        (H, W), in the manifest's order: for a binary task foreground probabilities, float32 in
        [0, 1]; else class numbers, uint8, from a map per class that is not kept.

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
    for indices, batch in zip(batches, made_ahead(stacks), strict=True):
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

    A map per class, which the class numbers are read from, is freed when this returns.

    Raises:
        DivergedError: class scores are not finite.
    """
    maps = semantic_probabilities(prediction, size)
    one = maps[:, 0].float() if prediction.class_logits is None else class_numbers(maps)
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


def score(
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

    rows = list(done_behind(row, enumerate(predicted)))
    return metrics.compute(), rows


def write_per_image(
    layout: Layout, task: str, variant: str, seed: int, rows: list[dict[str, Any]]
) -> FileHash:
    """Write per-image metrics as Parquet beside where the record goes.

    Raises:
        DiskError: the file cannot be written.
    """
    path = layout.per_image(task, variant, seed)
    with whole_file(path) as temporary:
        pd.DataFrame(rows).to_parquet(temporary, index=False)
    return FileHash.of(path)
