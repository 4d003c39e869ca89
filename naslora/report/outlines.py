"""A picture of test images with the true and the predicted outlines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke

from naslora.evaluation.binary import THRESHOLD, Counts
from naslora.report.style import figure, save_png

# Light colours with a dark rim stand out on tissue, foliage and asphalt alike.
TRUTH_COLOUR, PREDICTION_COLOUR = "#FFFFFF", "#56B4E9"
_RIM = [Stroke(linewidth=2.6, foreground="#000000"), Normal()]
_PANEL_WIDTH = 1.8
_LEFT, _TITLE, _BOTTOM, _GAP = 0.42, 0.27, 0.5, 0.05
_ACROSS = 7


def choose_images(iou: Mapping[str, float], count: int = 3) -> dict[str, str]:
    """Images at evenly spaced ranks of a reference method's IoU, from the best to the worst.

    Ties are ordered by name, so that the choice is the same everywhere.

    Args:
        iou: per image.
        count: how many to choose; fewer where there are fewer images. Three are the best, the
            median and the worst.

    Returns:
        Image to its label, such as `best`, `median`, `rank 25 of 100` or `worst`.

    Raises:
        ValueError: there is no image, or `count` is not positive.
    """
    if not iou or count < 1:
        raise ValueError(f"cannot choose {count} of {len(iou)} images")
    order = sorted(iou, key=lambda name: (-iou[name], name))
    last = len(order) - 1
    ranks = np.linspace(0, last, min(count, len(order))).round().astype(int).tolist()
    names = {round(last / 2): "median", last: "worst", 0: "best"}
    return {order[rank]: names.get(rank, f"rank {rank + 1} of {len(order)}") for rank in ranks}


def draw_outlines(
    images: Sequence[npt.NDArray[np.uint8]],
    truths: Sequence[npt.NDArray[np.uint8]],
    predictions: Mapping[str, Sequence[npt.NDArray[np.floating] | npt.NDArray[np.uint8]]],
    titles: Sequence[str],
    path: Path,
    caption: str = "",
) -> None:
    """Draw a grid: an image per row; the true outline first, then each method's beside it.

    With more than six methods, an image takes several rows.

    Args:
        images: RGB, (H, W, 3), uint8; each its own size.
        truths: true masks, (H, W), 0 or 1.
        predictions: per column title, foreground probabilities or masks, (H, W), at the size of
            the image; a pixel above 0.5 is foreground.
        titles: a label per row.
        path: where to write the PNG.
        caption: a line under the picture, such as the rule by which images were chosen.

    Raises:
        ValueError: lists or sizes do not fit each other.
        DiskError: the file cannot be written.
    """
    _check(images, truths, predictions, titles)
    columns = ["Image and truth", *predictions]
    across = min(len(columns), _ACROSS)
    lines = -(-len(columns) // across)
    heights = [_PANEL_WIDTH * image.shape[0] / image.shape[1] for image in images]
    width = _LEFT + across * (_PANEL_WIDTH + _GAP)
    # Titles stand above the first image alone, unless an image takes more than one line.
    titled = len(images) * lines if lines > 1 else 1
    height = _TITLE * titled + sum(heights) * lines + _GAP * len(heights) * lines + _BOTTOM
    with figure(width, height) as canvas:
        top = height
        for row, (image, truth) in enumerate(zip(images, truths, strict=True)):
            above = top
            for column, title in enumerate(columns):
                if column % across == 0:
                    new_line = lines > 1 or row == 0
                    top -= heights[row] + _GAP + (_TITLE if new_line else 0)
                left = _LEFT + column % across * (_PANEL_WIDTH + _GAP)
                axes = canvas.add_axes(
                    (left / width, top / height, _PANEL_WIDTH / width, heights[row] / height)
                )
                axes.imshow(image, aspect="auto", interpolation="antialiased")
                axes.set_axis_off()
                _outline(axes, truth > 0, TRUTH_COLOUR)
                if column:
                    foreground = np.asarray(predictions[title][row]) > THRESHOLD
                    _outline(axes, foreground, PREDICTION_COLOUR)
                    _score(axes, Counts.of(foreground, truth > 0).iou())
                if lines > 1 or row == 0:
                    axes.set_title(title, pad=4)
            middle = (above + top) / 2 / height
            canvas.text(
                _LEFT / 2 / width, middle, titles[row], rotation=90, ha="center", va="center"
            )
        handles = [
            Line2D([], [], color=colour, linewidth=1.4, path_effects=_RIM)
            for colour in (TRUTH_COLOUR, PREDICTION_COLOUR)
        ]
        canvas.legend(
            handles,
            ["truth", "prediction (number: IoU)"],
            loc="lower left",
            bbox_to_anchor=(_LEFT / width, 0.2 / height),
            bbox_transform=canvas.transFigure,
            borderaxespad=0,
            ncols=2,
        )
        canvas.text(_LEFT / width, 0.07 / height, caption, fontsize=7, va="bottom")
        save_png(canvas, path)


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


def _score(axes: Axes, iou: float) -> None:
    axes.text(
        0.97,
        0.04,
        f"{iou:.2f}",
        transform=axes.transAxes,
        ha="right",
        va="bottom",
        color="white",
        fontsize=8,
        path_effects=[Stroke(linewidth=2.2, foreground="#000000"), Normal()],
    )


def _check(
    images: Sequence[npt.NDArray[np.uint8]],
    truths: Sequence[npt.NDArray[np.uint8]],
    predictions: Mapping[str, Sequence[npt.NDArray[np.floating] | npt.NDArray[np.uint8]]],
    titles: Sequence[str],
) -> None:
    lists = {"truths": truths, "titles": titles, **predictions}
    for name, values in lists.items():
        if len(values) != len(images):
            raise ValueError(f"{len(images)} images, but {len(values)} of {name}")
    if not images:
        raise ValueError("no image to draw")
    for name, masks in {"truth": truths, **predictions}.items():
        for image, mask in zip(images, masks, strict=True):
            if image.shape[:2] != mask.shape:
                raise ValueError(f"{name} of {mask.shape} on an image of {image.shape[:2]}")
