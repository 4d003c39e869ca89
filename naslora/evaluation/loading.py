"""Load a trained run: the SAM with its adapter weights, checked against the run's receipt."""

from __future__ import annotations

import torch

from naslora.core.errors import RecordError
from naslora.core.files import sha256
from naslora.data.benchmarks.contract import Benchmark
from naslora.methods.registry import get_method
from naslora.methods.state import load_adapter
from naslora.sam.building import Sam
from naslora.study.layout import Layout
from naslora.study.records import Receipt, read_receipt
from naslora.study.settings import Study
from naslora.training.initial import initial_sam


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


def is_trained(study: Study, task: str, variant: str, seed: int) -> bool:
    """Whether a run has ended, with the settings and the images that the study has now."""
    layout = Layout.of(study)
    try:
        receipt = current_receipt(study, task, variant, seed)
    except RecordError:
        return False
    adapter = layout.adapter(task, variant, seed)
    manifest = layout.manifest(task)
    return (
        manifest.is_file()
        and sha256(manifest) == receipt.manifest_sha256
        and (
            receipt.adapter is None
            or (adapter.is_file() and sha256(adapter) == receipt.adapter.sha256)
        )
    )


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
