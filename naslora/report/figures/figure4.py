"""Figure 4: Grad-CAM on the image encoder, of every method on three images of one task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image

from naslora.analysis.grad_cam import grad_cam
from naslora.core.errors import ManifestError
from naslora.data.dataset import SegmentationDataset
from naslora.evaluation.loading import current_receipt, evaluation_device, trained_sam
from naslora.methods.registry import load_method_files
from naslora.report.figures.choice import Choice, choose, first_done
from naslora.report.figures.predictions import chosen_images
from naslora.report.figures.thumbnails import Cell, class_map, draw_grid, error_map, heat_map
from naslora.report.tables.model import run_title
from naslora.results.aggregate import Aggregate
from naslora.study.settings import Study

TASK = "leaf"  # the paper's
_SWATCHES = 5


def draw_grad_cams(study: Study, records: Aggregate, path: Path) -> None:
    """Draw the best, the median and the worst image of Leaf, or else of the task for analyses.

    Each method's map is that of its first seed that is done.

    Raises:
        RecordError: weights, checkpoint or images are not those of the records.
        DiskError: a file cannot be written.
    """
    load_method_files(study.method_files.values())
    task = TASK if TASK in study.tasks else study.analysis_task
    try:
        choice = choose(study, records, task)
    except ManifestError:
        choice = None  # records without images
    headings = ["Image", "Truth", *(run_title(records, method) for method in study.methods)]
    if choice is None:
        captions = [f"Study {study.study}: no run on {task} is done here."]
        draw_grid([], headings, path, captions=captions)
        return
    images, indices = chosen_images(study, choice, choice.distinct)
    cells: list[list[Cell | None]] = [
        [Cell(images.native_image(i)), _truth(choice, images.native_mask(i))] for i in indices
    ]
    for method in study.methods:
        seed = first_done(study, records, task, method)
        if seed is None:
            for row in cells:
                row.append(None)
            continue
        maps = _maps(study, choice, method, seed, images, indices)
        for row, heat in zip(cells, maps, strict=True):
            row.append(Cell(heat_map(row[0].picture if row[0] else heat, heat)))
    legend: list[tuple[Artist, str]] = [
        (Patch(color=heat_map(np.zeros((1, 1, 3)), np.full((1, 1), share))[0, 0]), f"{share:.2g}")
        for share in np.linspace(0, 1, _SWATCHES).tolist()
    ]
    captions = [
        f"Study {study.study}: Grad-CAM of the last block of the image "
        "encoder for what is predicted; each map is scaled from 0 to 1, and dark where nothing "
        "counts in favour.",
        f"{choice.caption}.",
    ]
    rows = [(rank, row) for rank, row in zip(choice.distinct, cells, strict=True)]
    draw_grid(rows, headings, path, legend=legend, captions=captions)


def _truth(choice: Choice, truth: NDArray[np.uint8]) -> Cell:
    binary = len(choice.benchmark.classes) == 1
    return Cell(error_map(truth > 0, truth > 0) if binary else class_map(truth))


def _maps(
    study: Study,
    choice: Choice,
    method: str,
    seed: int,
    images: SegmentationDataset,
    indices: list[int],
) -> list[NDArray[np.float32]]:
    """Maps in [0, 1] at the images' own sizes."""
    receipt = current_receipt(study, choice.benchmark.name, method, seed)
    device = evaluation_device(study)
    sam = trained_sam(study, choice.benchmark, method, seed, receipt).to(device)
    maps = []
    for index in indices:  # one at a time, as a gradient takes memory
        heat = grad_cam(sam, images[index][0][None].to(device))[0].cpu().numpy()
        sample = images.samples[index]
        sized = Image.fromarray(heat).resize(
            (sample.width, sample.height), Image.Resampling.BILINEAR
        )
        maps.append(np.clip(np.asarray(sized, np.float32), 0, 1))
    return maps
