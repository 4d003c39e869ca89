"""A picture of test images with the true and the predicted outlines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke

from naslora.evaluation.binary import THRESHOLD, Counts
from naslora.report.figures.panels import Draw, Image, Maps, check_panels, draw_panels, write_score

# Light colours with a dark rim stand out on tissue, foliage and asphalt alike.
TRUTH_COLOUR, PREDICTION_COLOUR = "#FFFFFF", "#56B4E9"
_RIM = [Stroke(linewidth=2.6, foreground="#000000"), Normal()]


def draw_outlines(
    images: Sequence[Image],
    truths: Sequence[Image],
    predictions: Mapping[str, Maps],
    titles: Sequence[str],
    path: Path,
    caption: str = "",
) -> None:
    """Draw a grid: an image per row; the true outline first, then each method's beside it.

    Args:
        images: RGB, (H, W, 3), uint8; each its own size.
        truths: true masks, (H, W), 0 or 1.
        predictions: per column title, foreground probabilities or masks, (H, W), at the size of
            the image; a pixel above 0.5 is foreground.
        titles: a label per row.
        path: where to write the PNG; the PDF lies beside it.
        caption: a line under the picture, such as the rule by which images were chosen.

    Raises:
        ValueError: lists or sizes do not fit each other.
        DiskError: the file cannot be written.
    """
    check_panels(images, truths, predictions, titles)
    columns: dict[str, Draw] = {"Image and truth": partial(_draw, truths, None)}
    columns |= {title: partial(_draw, truths, maps) for title, maps in predictions.items()}
    names = {TRUTH_COLOUR: "truth", PREDICTION_COLOUR: "prediction (number: IoU)"}
    legend = [
        (Line2D([], [], color=colour, linewidth=1.4, path_effects=_RIM), name)
        for colour, name in names.items()
    ]
    draw_panels(images, columns, titles, path, caption=caption, legend=legend, legend_columns=2)


def _draw(truths: Sequence[Image], predicted: Maps | None, axes: Axes, row: int) -> None:
    truth = truths[row] > 0
    _outline(axes, truth, TRUTH_COLOUR)
    if predicted is not None:
        foreground = np.asarray(predicted[row]) > THRESHOLD
        _outline(axes, foreground, PREDICTION_COLOUR)
        write_score(axes, Counts.of(foreground, truth).iou())


def _outline(axes: Axes, foreground: npt.NDArray[np.bool_], colour: str) -> None:
    if not foreground.any():
        return
    # A margin of background closes the outline of what touches the image's border.
    padded = np.pad(foreground.astype(float), 1)
    rows, columns = padded.shape
    x, y = np.arange(columns) - 1, np.arange(rows) - 1
    contour = axes.contour(x, y, padded, levels=[0.5], colors=[colour], linewidths=1.4)
    contour.set_path_effects(_RIM)
    axes.set_xlim(-0.5, columns - 2.5)
    axes.set_ylim(rows - 2.5, -0.5)
