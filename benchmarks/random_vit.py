"""Table 4's first row without any weights: a randomly initialised ViT on real images.

    python benchmarks/random_vit.py --study sample --task kvasir --images 100 --native-images 3

The images are drawn from all splits of a prepared task, since nothing is trained. At 224 px every
block attends over 14 x 14 patches; at 1024 px, SAM's own size, blocks have windows of 14 x 14
patches, except for four with global attention over 64 x 64. A pass at 1024 px takes a minute or
more on a few cores, so fewer images are used. The paper states neither its initialisation nor its
input size; the numbers of both sizes are printed beside the paper's, with layers counted from 1 and
from 0.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from naslora.analysis.analyse import summarise
from naslora.analysis.document import TABLE_MODELS, LayerStatistics
from naslora.analysis.frequency import at_frequency
from naslora.analysis.probe import Features, probe
from naslora.core.files import sha256, write_json
from naslora.data.images import read_image, resized
from naslora.data.manifest import read_manifest
from naslora.paper.published import columns, printed
from naslora.sam.building import build_sam
from naslora.study.layout import Layout
from naslora.study.provenance import provenance
from naslora.study.settings import Study, load_study

LAYERS = (10, 15, 20)
SHARES = (0.4, 0.6, 0.8)


def measure(
    study: Study, task: str, backbone: str, size: int, count: int, seed: int
) -> tuple[LayerStatistics, dict[str, Any]]:
    """Statistics of a random ViT on `count` images, and the part of them that is written."""
    began = time.perf_counter()
    layout = Layout.of(study)
    samples = read_manifest(layout.manifest(task)).samples
    order = np.random.default_rng(0).permutation(len(samples))[:count]
    chosen = [samples[i] for i in sorted(order.tolist())]
    torch.manual_seed(seed)
    sam = build_sam(backbone, size).eval()
    parts = []
    for done, sample in enumerate(chosen, start=1):
        pixels = resized(read_image(layout.prepared(task) / sample.image), size)
        parts.append(probe(sam, torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None]))
        print(f"\r{size} px: {done} of {len(chosen)} images", end="", flush=True)
    print()
    statistics = summarise(Features.join(parts), sam)
    kept = statistics.model_dump(mode="json", exclude={"distance_by_image", "amplitude_by_image"})
    spread = np.std(statistics.distance_by_image, axis=1, ddof=1) if count > 1 else ()
    return statistics, {
        **kept,
        "images": [sample.id for sample in chosen],
        "distance_std_over_images": [round(float(value), 3) for value in spread],
        "seconds": round(time.perf_counter() - began, 1),
    }


def row(statistics: LayerStatistics, first: int) -> list[float]:
    """The numbers of Table 4, with layers counted from `first`."""
    distances = [float(np.mean(statistics.distance[layer - first])) for layer in LAYERS]
    return distances + [float(at_frequency(statistics.amplitude[-1], s)) for s in SHARES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--study", default="sample", help="study of the prepared images")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of results")
    parser.add_argument("--task", default="kvasir")
    parser.add_argument("--backbone", default="vit_h", choices=("vit_h", "vit_l"))
    parser.add_argument("--images", type=int, default=100, help="number of images at 224 px")
    parser.add_argument("--native-images", type=int, default=4, help="number of images at 1024 px")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="write the results to this JSON file")
    options = parser.parse_args()
    study = load_study(options.study, {"results": str(options.results)})
    sizes = {224: options.images, 1024: options.native_images}
    found = {
        str(size): measure(study, options.task, options.backbone, size, count, options.seed)
        for size, count in sizes.items()
        if count
    }
    names = columns("4")
    paper = [printed("4", TABLE_MODELS["random"], name) for name in names]
    lines = {"paper": [number.value for number in paper if number]}
    for size, (statistics, _) in found.items():
        for first in (1, 0):
            lines[f"{size} px, layers from {first}"] = row(statistics, first)
    print(f"{'':24} " + " ".join(f"{name.rpartition('_')[2]:>8}" for name in names))
    for name, values in lines.items():
        print(f"{name:24} " + " ".join(f"{value:8.2f}" for value in values))
    if options.output:
        settings = {k: v for k, v in vars(options).items() if k not in ("output", "results")}
        manifest = sha256(Layout.of(study).manifest(options.task))
        about = provenance(torch.device("cpu")).model_dump(mode="json")
        sizes_found = {size: kept for size, (_, kept) in found.items()}
        content = {
            "settings": settings,
            "manifest_sha256": manifest,
            "rows": lines,
            "sizes": sizes_found,
        }
        write_json(options.output, {**content, **about})


if __name__ == "__main__":
    main()
