"""Decoder-only training from cached embeddings: later epochs against the first.

    python benchmarks/decoder_only.py --output benchmarks/results/decoder_only-512.json

The loop and the loaders are those of training, on generated images. The first epoch embeds every
image and its mirror image, which takes as long as two epochs without the cache.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from ratios import ratio, write

from naslora.data.manifest import read_manifest
from naslora.data.prepare import prepare
from naslora.methods.registry import adapt
from naslora.study.layout import Layout
from naslora.study.settings import load_study
from naslora.training.device import launch_fabric
from naslora.training.fit import fit
from naslora.training.initial import initial_sam
from naslora.training.learner import Learner
from naslora.training.loaders import build_loaders
from naslora.training.output import Output
from naslora.training.progress import EpochProgress
from naslora.training.resume.checkpoints import Checkpoints
from naslora.training.resume.saving import Saver
from naslora.training.resume.signals import StopRequests
from naslora.training.resume.state import Progress

TASK, METHOD = "kvasir", "decoder_only"
EPOCHS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backbone", default="vit_b")
    parser.add_argument("--image-size", type=int, default=512)
    parser.add_argument("--images", type=int, default=16, help="images to generate, of all splits")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--output", type=Path, help="write the results to this JSON file")
    options = parser.parse_args()
    settings = {k: v for k, v in vars(options).items() if k != "output"}
    with tempfile.TemporaryDirectory() as folder:
        seconds = epochs(options, Path(folder))
    found = ratio(
        f"decoder-only: a later epoch / the first ({options.backbone}, {options.image_size} px, "
        f"{options.device})",
        min(seconds[1:]) / seconds[0],
        0.05,
    )
    write(options.output, settings, epoch_seconds=seconds, ratios=[found])


def epochs(options: argparse.Namespace, folder: Path) -> list[float]:
    """Seconds of each epoch; the first computes the embeddings."""
    study = load_study(
        "rehearsal",
        {
            "results": str(folder),
            "methods": [METHOD],
            "generated": {TASK: options.images},
            "sam": {
                "backbone": options.backbone,
                "image_size": options.image_size,
                "checkpoint": "random",
            },
            "training.epochs": EPOCHS,
            "training.threads": options.threads,
            "training.accelerator": options.device,
            "training.validate_every_n_epochs": 0,
        },
    )
    prepare(study, TASK)
    run, layout = study.run(TASK, METHOD, 0), Layout.of(study)
    fabric = launch_fabric(run.training)
    sam, _ = initial_sam(study, classes=1, seed=0)
    adapt(sam, METHOD)
    learner = Learner(fabric, run.training, sam, 1)
    marks = [time.perf_counter()]
    manifest = read_manifest(layout.manifest(TASK))
    prepared, cache = layout.prepared(TASK), layout.resized(TASK)
    loaders, _ = build_loaders(fabric, run, manifest, prepared, cache, sam, alpha_data="batch")
    report = Marks("decoder-only", EPOCHS, output=Output(silent=True))
    saver = Saver(fabric, Checkpoints(folder, {}), None, StopRequests(), 60, dict)
    with report:
        fit(fabric, learner, loaders, Progress(), saver, report)
    marks += report.marks
    return [after - before for before, after in pairwise(marks)]


class Marks(EpochProgress):
    """Records the time after each epoch, when its losses are known."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.marks: list[float] = []

    def epoch(self, values: dict[str, float]) -> None:
        self.marks.append(time.perf_counter())


if __name__ == "__main__":
    main()
