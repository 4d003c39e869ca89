"""Images per second of the data loader, compared with the method that trains fastest.

    python benchmarks/loading.py --backbones vit_b --image-size 1024

For images of the size and format of some data sets: the loader that decodes every image in every
epoch, the time to write the file of resized images once, the loader that reads from it, and the
memory of all its processes after each epoch. Then steps of decoder-only training on the same
machine. Weights are random and images synthetic, which does not affect the time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from naslora.core.files import sha256, write_bytes, write_json
from naslora.data.dataset import SegmentationDataset
from naslora.data.manifest import Manifest, ManifestArchive, ManifestSample
from naslora.methods.registry import adapt
from naslora.nas.alternation import AlternatingOptimizer
from naslora.sam.building import build_sam
from naslora.study.provenance import provenance
from naslora.study.settings import load_study
from naslora.synthetic.encoding import jpeg
from naslora.synthetic.generators import find_generator
from naslora.training.losses import task_loss
from naslora.training.order import EpochSampler, FlippedImages, training_loader

METHOD = "decoder_only"
BATCH = 4
EPOCHS = 3
# Width and height of the images, as they are published.
SOURCES = {"kvasir": (620, 530), "road": (1500, 1500), "isic2017": (3008, 2000)}


def prepared(folder: Path, count: int, size: tuple[int, int]) -> Manifest:
    """Write `count` pairs of JPEG files of a size (W, H) and their manifest."""
    samples = []
    kvasir = find_generator("kvasir")
    for index in range(count):
        pixels, labels = kvasir.draw(np.random.default_rng([1, index]))
        names = {}
        for kind, array in (("image", pixels), ("mask", labels * np.uint8(255))):
            how = Image.Resampling.BICUBIC if kind == "image" else Image.Resampling.NEAREST
            names[kind] = folder / f"{kind}{index:04}.jpg"
            write_bytes(names[kind], jpeg(Image.fromarray(array).resize(size, how), 92))
        samples.append(
            ManifestSample(
                id=f"{index:04}",
                split="train" if index else "test",
                image=names["image"].name,
                mask=names["mask"].name,
                width=size[0],
                height=size[1],
                image_sha256=sha256(names["image"]),
                mask_sha256=sha256(names["mask"]),
            )
        )
    archive = ManifestArchive(file="none", sha256="0" * 64, bytes=0, official=False)
    return Manifest(
        task="kvasir",
        classes=["polyp"],
        test_sets=["test"],
        generated=True,
        archives=[archive],
        split_seed=0,
        samples=samples,
    )


def resident_mib() -> float:
    """Memory of this process and its workers in MiB; shared pages count once per process."""
    own = Path(f"/proc/self/task/{os.getpid()}/children")
    pids = [os.getpid(), *map(int, own.read_text().split())]
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20


def epochs(data: SegmentationDataset, workers: int) -> dict[str, list[float]]:
    """Images per second in each epoch, and memory in MiB after it."""
    sampler = EpochSampler(range(len(data)), seed=0, horizontal_flip=0.5)
    loader = training_loader(FlippedImages(data), sampler, batch_size=BATCH, workers=workers)
    rates, memory = [], []
    for epoch in range(1, EPOCHS + 1):
        sampler.epoch = epoch
        began = time.perf_counter()
        seen = sum(len(images) for images, _ in loader)
        rates.append(seen / (time.perf_counter() - began))
        memory.append(resident_mib())
    return {"images_per_s": rates, "resident_mib": memory}


def loading(count: int, size: tuple[int, int], image_size: int, workers: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "prepared"
        manifest = prepared(root, count + 1, size)
        decoded = epochs(SegmentationDataset(manifest, root, "train", image_size), workers)
        began = time.perf_counter()
        cached = SegmentationDataset(manifest, root, "train", image_size, Path(folder))
        seconds = time.perf_counter() - began
        return {
            "source": list(size),
            "decoded": decoded,
            "writing_images_per_s": count / seconds,
            "cached": epochs(cached, workers),
        }


def training(backbone: str, image_size: int, steps: int) -> float:
    """Images per second of training steps, without the first."""
    settings = load_study("paper").training
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    batch = BATCH if device.type == "cuda" else 1
    torch.manual_seed(0)
    sam = build_sam(backbone, image_size).train()
    adapt(sam, METHOD)
    optimisers = AlternatingOptimizer(sam.to(device), settings)
    images = torch.randint(0, 256, (batch, 3, image_size, image_size), dtype=torch.uint8).to(device)
    labels = (images[:, 0] > 127).to(torch.uint8)
    marks = []
    for step in range(1, steps + 2):
        optimisers.step(1, step, lambda: task_loss(sam(images), labels, 1, settings))
        if device.type == "cuda":
            torch.cuda.synchronize()
        marks.append(time.perf_counter())
    return batch * steps / (marks[-1] - marks[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backbones", nargs="+", default=["tiny", "small", "vit_b"])
    parser.add_argument("--image-size", type=int, default=1024)
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--output", type=Path, help="write the results to this JSON file")
    options = parser.parse_args()
    loader = {}
    slowest = dict.fromkeys(("decoded", "cached"), float("inf"))
    for name, size in SOURCES.items():
        found = loading(options.images, size, options.image_size, options.workers)
        loader[name] = found
        for kind in slowest:
            rate = statistics.median(found[kind]["images_per_s"])
            slowest[kind] = min(slowest[kind], rate)
            print(f"{name:10} {size[0]}x{size[1]}, {kind:8} {rate:8.1f} images/s", flush=True)
    trained, ratios = {}, {}
    for backbone in options.backbones:
        trained[backbone] = training(backbone, options.image_size, options.steps)
        ratios[backbone] = {kind: rate / trained[backbone] for kind, rate in slowest.items()}
        print(
            f"{backbone:10} {METHOD} {trained[backbone]:8.2f} images/s; the slowest loader is"
            f" {ratios[backbone]['decoded']:.1f} times as fast, cached"
            f" {ratios[backbone]['cached']:.1f}",
            flush=True,
        )
    if options.output:
        about = provenance(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        settings = {k: v for k, v in vars(options).items() if k != "output"}
        write_json(
            options.output,
            {
                "settings": settings,
                "method": METHOD,
                "batch_size": BATCH,
                "loader": loader,
                "training_images_per_s": trained,
                "slowest_loader_over_training": ratios,
                **about.model_dump(mode="json"),
            },
        )


if __name__ == "__main__":
    main()
