"""A gallery: some test images of a task with the predictions of every method drawn on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from naslora.evaluation.names import metric_name
from naslora.report.figures.captions import setting, trained_rows
from naslora.report.figures.choice import Rank
from naslora.report.figures.figure3 import class_legend, classes_shown, image_frame
from naslora.report.figures.grid import Cell, Row, draw_grid
from naslora.report.figures.inputs import Inputs, NothingToDrawError, TaskImages
from naslora.report.figures.overlays import Picture, class_overlay, contours, numbered_regions
from naslora.report.figures.saving import save_figure
from naslora.report.figures.style import SKY_BLUE
from naslora.report.tables.model import run_title

if TYPE_CHECKING:
    from matplotlib.artist import Artist

RANKS: tuple[Rank, ...] = ("best", "median", "worst")
TRUTH, PREDICTION = "#FFFFFF", SKY_BLUE
_ACROSS = 8


def draw_gallery(inputs: Inputs, path: Path, task: str) -> None:
    """Draw the best, median and worst test image of a task, each with all methods that are done.

    A binary task has the outlines of truth and prediction; any other has the classes in colours,
    with their numbers. Predictions are those of each method's first seed that is done.

    Args:
        inputs: the study with its records.
        path: where to write the PNG.
        task: of the study.

    Raises:
        NothingToDrawError: no run on the task is done, or its images may not be shown.
        RecordError: weights, checkpoint or images are not those of the records.
        DiskError: a file cannot be written.
    """
    found = inputs.images(task)
    if found is None:
        raise NothingToDrawError(inputs.left_out([task]))
    study, choice = inputs.study, found.choice
    ranks = [rank for rank in choice.distinct(RANKS) if rank in found.ranks]
    done = [method for method in trained_rows(study) if method in found.predicted]
    headings = ["Image and truth" if found.binary else "Image", *(["Truth"] * (not found.binary))]
    headings += [run_title(inputs.records, method) for method in done]
    rows = [_row(found, rank, done) for rank in ranks]
    legend = _outline_legend() if found.binary else class_legend(found, classes_shown(found, ranks))
    missing = [run_title(inputs.records, m) for m in trained_rows(study) if m not in done]
    caption = [
        choice.caption(RANKS),
        f"Under each prediction its score ({metric_name(choice.metric).title}, %).",
        setting(study),
        *([f"Not done: {', '.join(missing)}."] if missing else []),
    ]
    with draw_grid(rows, headings, across=_ACROSS, legend=legend) as canvas:
        save_figure(canvas, path, " ".join(caption), image_frame({task: found}, {task: ranks}))


def _row(found: TaskImages, rank: Rank, methods: Sequence[str]) -> Row:
    image, truth = found.images[rank], found.shown_truth(rank)
    if found.binary:
        outline = tuple((line, TRUTH) for line in contours(truth > 0))
        cells = [Cell(image, outlines=outline)]
        for method in methods:
            lines = contours(found.predicted[method][rank] > 0)
            both = (*outline, *((line, PREDICTION) for line in lines))
            cells.append(Cell(image, found.note(rank, method), outlines=both))
    else:
        cells = [Cell(image), _classes(found, image, truth)]
        for method in methods:
            predicted = found.predicted[method][rank]
            cells.append(_classes(found, image, predicted, found.note(rank, method)))
    return Row(rank, cells)


def _classes(found: TaskImages, image: Picture, labels: NDArray[np.uint8], note: str = "") -> Cell:
    overlay = class_overlay(image, labels, found.colours)
    return Cell(overlay, note, numbers=tuple(numbered_regions(labels)))


def _outline_legend() -> list[tuple[Artist, str]]:
    from matplotlib.lines import Line2D
    from matplotlib.patheffects import Normal, Stroke

    rim = [Stroke(linewidth=2.2, foreground="black"), Normal()]
    names = {TRUTH: "truth", PREDICTION: "prediction"}
    return [
        (Line2D([], [], color=colour, linewidth=1.2, path_effects=rim), name)
        for colour, name in names.items()
    ]
