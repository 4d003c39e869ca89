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
from naslora.study.records import Receipt
from naslora.study.settings import Study
from naslora.training.initial import initial_sam


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
