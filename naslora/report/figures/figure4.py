"""Figure 4: Grad-CAM on the image encoder, of every method on three images of one task."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from naslora.report.figures.captions import setting
from naslora.report.figures.choice import Rank
from naslora.report.figures.figure3 import image_frame
from naslora.report.figures.gallery import RANKS
from naslora.report.figures.grid import Cell, Row, draw_grid
from naslora.report.figures.inputs import (
    Inputs,
    NothingToDrawError,
    TaskImages,
    chosen_images,
    trained_sams,
)
from naslora.report.figures.overlays import Picture, class_map, error_map, heat_overlay
from naslora.report.figures.saving import save_figure
from naslora.report.figures.style import SMALL
from naslora.report.tables.model import run_title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from naslora.study.settings import Study

TASK = "leaf"  # the paper's
_BAR = 0.46  # inches for the colour bar


def draw_grad_cams(inputs: Inputs, path: Path) -> None:
    """Draw the best, the median and the worst image of Leaf, or else of the task for analyses.

    Each method's map is that of its first seed that is done.

    Raises:
        NothingToDrawError: no run on the task is done, or its images may not be shown.
        RecordError: weights, checkpoint or images are not those of the records.
        DiskError: a file cannot be written.
    """
    study = inputs.study
    task = grad_cam_task(study)
    found = inputs.images(task)
    if found is None:
        raise NothingToDrawError(inputs.left_out([task]))
    ranks = [rank for rank in found.choice.distinct(RANKS) if rank in found.ranks]
    maps = _maps(inputs, found, ranks)
    rows = []
    for rank in ranks:
        cells: list[Cell | None] = [Cell(found.images[rank]), Cell(_truth(found, rank))]
        for method in study.methods:
            heat = maps[method][rank] if method in maps else None
            cells.append(_cell(found.images[rank], heat))
        rows.append(Row(rank, cells))
    headings = ["Image", "Truth", *(run_title(inputs.records, name) for name in study.methods)]
    with draw_grid(rows, headings, foot=_BAR) as canvas:
        _colour_bar(canvas)
        caption = [
            "Grad-CAM of the last block of the image encoder, for what is predicted; each map is "
            "scaled from 0 to 1, and one marked blank has no positive weight.",
            setting(study),
            found.choice.caption(RANKS),
        ]
        save_figure(canvas, path, " ".join(caption), image_frame({task: found}, {task: ranks}))


def grad_cam_task(study: Study) -> str:
    """The task whose images the figure shows."""
    return TASK if TASK in study.tasks else study.analysis_task


def _truth(found: TaskImages, rank: Rank) -> Picture:
    truth = found.shown_truth(rank)
    return error_map(truth > 0, truth > 0) if found.binary else class_map(truth, found.colours)


def _cell(image: Picture, heat: NDArray[np.float32] | None) -> Cell | None:
    if heat is None:
        return None
    return Cell(heat_overlay(image, heat), "" if heat.any() else "blank")


def _colour_bar(canvas: Figure) -> None:
    """Draw the colours of heat as they look over mid grey."""
    heat = np.linspace(0, 1, 256)[None]
    height = canvas.get_figheight()
    axes = canvas.add_axes((0.36, 0.2 / height, 0.28, 0.08 / height))
    axes.imshow(heat_overlay(np.full((1, 256, 3), 0.5), heat), aspect="auto", extent=(0, 1, 0, 1))
    axes.set(yticks=[])
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.tick_params(length=2, pad=1)
    axes.set_title("Grad-CAM, scaled per map", fontsize=SMALL, pad=2)


def _maps(
    inputs: Inputs, found: TaskImages, ranks: list[Rank]
) -> dict[str, dict[Rank, NDArray[np.float32]]]:
    """Maps in [0, 1] at the size of the pictures, by method and rank."""
    from skimage.transform import resize

    from naslora.analysis.grad_cam import grad_cam

    images, places = chosen_images(inputs.study, found.choice, ranks)
    maps: dict[str, dict[Rank, NDArray[np.float32]]] = {}
    for method, _, sam in trained_sams(
        inputs.study, inputs.records, found.choice, inputs.study.methods
    ):
        maps[method] = {}
        for rank in ranks:  # one at a time, as a gradient takes memory
            image = images[places[rank]][0][None].to(sam.pixel_mean.device)
            heat = grad_cam(sam, image)[0].cpu().numpy()
            sized = resize(heat, found.truths[rank].shape, order=1)
            maps[method][rank] = np.clip(sized, 0, 1)
    return maps
