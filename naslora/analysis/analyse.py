"""Analysis of a model of a study: attention distances and log amplitudes of all layers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor

from naslora.analysis.attention_distance import uniform_distance
from naslora.analysis.document import (
    PRETRAINED,
    RANDOM,
    SCALES,
    Analysis,
    LayerStatistics,
    Scale,
    analysis_fingerprint,
    write_analysis,
)
from naslora.analysis.probe import Features, probe, resize_encoder
from naslora.core.files import sha256
from naslora.data.benchmarks.contract import get_benchmark
from naslora.data.images import read_image, resized
from naslora.data.manifest import Manifest, ManifestSample, read_manifest
from naslora.data.prepare import prepared_images
from naslora.evaluation.loading import evaluation_device, trained_sam
from naslora.evaluation.receipts import current_receipt
from naslora.methods.merge import plan_dense_merge
from naslora.methods.registry import load_method_files
from naslora.nas.cell import NASCell
from naslora.sam.building import Sam
from naslora.sam.image_encoder import Block
from naslora.study.layout import Layout
from naslora.study.provenance import provenance
from naslora.study.records import Receipt
from naslora.study.settings import Study
from naslora.training.initial import initial_sam

SMALL_SIZE = 224
_DECIMALS = 4


def analyse(study: Study, model: str, task: str | None = None, seed: int | None = None) -> Analysis:
    """Measure a model on randomly chosen test images, and write the results.

    The analysis of a run that diverged has that status and no statistics.

    Args:
        study: its settings under `analysis` give the number of images and the seed of the choice.
        model: `random` for random weights, `sam` for the study's checkpoint, or a method or a
            variant, whose run must be trained.
        task: the task of the images and of the run; by default the study's task for analyses.
        seed: of random weights, or of the run; by default the study's first.

    Raises:
        SettingsError: the study has no such task, method or variant.
        RecordError: the run is not trained, or was trained with other settings, weights or images.
        ManifestError: the task is not prepared.
    """
    began = time.perf_counter()
    task = task or study.analysis_task
    seed = study.seeds[0] if seed is None else seed
    layout = Layout.of(study)
    load_method_files(study.method_files.values())
    torch.set_num_threads(study.training.threads)  # results depend on it in the last bits
    device = evaluation_device(study)
    depends_on = analysis_fingerprint(study, task, model, seed)
    receipt = _receipt(study, task, model, seed)
    status = receipt.status if receipt else "done"
    manifest = read_manifest(layout.manifest(task))
    chosen = choose_images(manifest, study.analysis.images, study.analysis.seed)
    scales: dict[Scale, LayerStatistics] = {}
    merge_errors: dict[str, float] = {}
    checkpoint = receipt.checkpoint_sha256 if receipt else None
    sam: Sam | None = None
    if status == "done":
        sam, checkpoint = _sam(study, task, model, seed, receipt)
        sam = sam.to(device).eval()
        merge_errors = _merge_errors(sam, _batches(study, manifest, chosen, sam))
        for scale in SCALES:
            if scale == "224":
                resize_encoder(sam, SMALL_SIZE)
            batches = _batches(study, manifest, chosen, sam)
            features = Features.join([probe(sam, batch) for batch in batches])
            scales[scale] = summarise(features, sam)
    analysis = Analysis(
        status=status,
        message=receipt.message if receipt else None,
        study=study.study,
        task=task,
        model=model,
        seed=seed,
        backbone=study.sam.backbone,
        settings=study.analysis.model_dump(mode="json"),
        fingerprint=depends_on,
        checkpoint_sha256=checkpoint,
        adapter_sha256=receipt.adapter.sha256 if receipt and receipt.adapter else None,
        manifest_sha256=sha256(layout.manifest(task)),
        images=[sample.id for sample in chosen],
        scales=scales,
        merge_errors=merge_errors,
        wall_time_s=time.perf_counter() - began,
        provenance=provenance(device, sam),
    )
    write_analysis(layout.analysis(task, model, seed), analysis)
    return analysis


def choose_images(manifest: Manifest, count: int, seed: int) -> list[ManifestSample]:
    """Draw `count` images from all test sets of a task without replacement; all if there are fewer.

    The choice depends only on the ids and the seed.
    """
    samples = sorted(
        (sample for name in manifest.test_sets for sample in manifest.of(name)),
        key=lambda sample: sample.id,
    )
    order = np.random.default_rng(seed).permutation(len(samples))[:count]
    return [samples[i] for i in sorted(order.tolist())]


def summarise(features: Features, sam: Sam) -> LayerStatistics:
    """The statistics that tables and figures use, rounded to four decimals."""
    patch = sam.image_encoder.patch_size
    side = sam.image_size[0] // patch
    distances, amplitudes = features.distances.double(), features.amplitudes.double()
    return LayerStatistics(
        image_size=sam.image_size[0],
        grid=side,
        windows=[cast(Block, block).attn.window_size for block in sam.image_encoder.blocks],
        uniform_distance=uniform_distance(side, side, patch),
        distance=_rounded(distances.mean(0)),
        distance_by_image=_rounded(distances.mean(2).T),
        amplitude=_rounded(amplitudes.mean(0)),
        amplitude_by_image=_rounded(amplitudes[:, -1]),
    )


def _rounded(values: Tensor) -> list[list[float]]:
    return [[round(value, _DECIMALS) for value in row] for row in values.tolist()]


def _receipt(study: Study, task: str, model: str, seed: int) -> Receipt | None:
    """The receipt of a trained run; None for a model that needs no training."""
    if model in (RANDOM, PRETRAINED):
        return None
    return current_receipt(study, task, model, seed)


def _sam(
    study: Study, task: str, model: str, seed: int, receipt: Receipt | None
) -> tuple[Sam, str | None]:
    """The model, and the hash of the checkpoint that it started from."""
    benchmark = get_benchmark(task)
    if receipt is not None:
        return trained_sam(study, benchmark, model, seed, receipt), receipt.checkpoint_sha256
    return initial_sam(study, classes=len(benchmark.classes), seed=seed, pretrained=model != RANDOM)


def _merge_errors(sam: Sam, batches: Iterable[Tensor]) -> dict[str, float]:
    """Relative errors of the best linear layers in place of the cells, rounded to four decimals."""
    if not any(isinstance(module, NASCell) for module in sam.modules()):
        return {}
    errors = plan_dense_merge(sam, "least_squares", batches).errors
    return {name: round(error, _DECIMALS) for name, error in errors.items()}


def _batches(
    study: Study, manifest: Manifest, chosen: Sequence[ManifestSample], sam: Sam
) -> Iterator[Tensor]:
    """The images at the model's input size, (B, 3, size, size), uint8, on its device."""
    root = prepared_images(study, manifest)
    size, step = sam.image_size[0], study.evaluation.batch_size
    for start in range(0, len(chosen), step):
        images = [
            resized(read_image(root / sample.image), size).transpose(2, 0, 1).copy()
            for sample in chosen[start : start + step]
        ]
        yield torch.from_numpy(np.stack(images)).to(sam.pixel_mean.device)
