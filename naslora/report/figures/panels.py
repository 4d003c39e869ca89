"""A grid of test images: one per row, with what each column says about it drawn on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patheffects import Normal, Stroke

from naslora.report.figures.style import figure, save_figure

Image = npt.NDArray[np.uint8]
Maps = Sequence[npt.NDArray[Any]]
# Draws on axes that show the image of a row, or covers it.
Draw = Callable[[Axes, int], None]
_PANEL_WIDTH = 1.8
_LEFT, _TITLE, _CAPTION, _LEGEND_LINE, _GAP = 0.42, 0.27, 0.24, 0.2, 0.05
_ACROSS = 7


def draw_panels(
    images: Sequence[Image],
    columns: Mapping[str, Draw],
    titles: Sequence[str],
    path: Path,
    *,
    caption: str,
    legend: Sequence[tuple[Artist, str]],
    legend_columns: int,
) -> None:
    """Draw the grid and write it as PNG and PDF.

    With more than seven columns, an image takes several rows.

    Args:
        images: RGB, (H, W, 3), uint8; each its own size.
        columns: heading to what is drawn in the column.
        titles: a label per image.
        path: where to write, with the suffix .png.
        caption: a line under the picture.
        legend: handles and their labels.
        legend_columns: how many of them stand in one line.

    Raises:
        DiskError: the file cannot be written.
    """
    across = min(len(columns), _ACROSS)
    lines = -(-len(columns) // across)
    heights = [_PANEL_WIDTH * image.shape[0] / image.shape[1] for image in images]
    width = _LEFT + across * (_PANEL_WIDTH + _GAP)
    # Headings stand above the first image alone, unless an image takes more than one line.
    headed = len(images) * lines if lines > 1 else 1
    foot = _CAPTION + _LEGEND_LINE * -(-len(legend) // legend_columns) + 0.06
    height = _TITLE * headed + sum(heights) * lines + _GAP * len(heights) * lines + foot
    with figure(width, height) as canvas:
        top = height
        for row, image in enumerate(images):
            above = top
            for column, (heading, draw) in enumerate(columns.items()):
                if column % across == 0:
                    new_line = lines > 1 or row == 0
                    top -= heights[row] + _GAP + (_TITLE if new_line else 0)
                left = _LEFT + column % across * (_PANEL_WIDTH + _GAP)
                axes = canvas.add_axes(
                    (left / width, top / height, _PANEL_WIDTH / width, heights[row] / height)
                )
                axes.imshow(image, aspect="auto", interpolation="antialiased")
                axes.set_axis_off()
                draw(axes, row)
                if lines > 1 or row == 0:
                    axes.set_title(heading, pad=4)
            middle = (above + top) / 2 / height
            canvas.text(
                _LEFT / 2 / width, middle, titles[row], rotation=90, ha="center", va="center"
            )
        canvas.legend(
            [handle for handle, _ in legend],
            [label for _, label in legend],
            loc="lower left",
            bbox_to_anchor=(_LEFT / width, (_CAPTION - 0.04) / height),
            bbox_transform=canvas.transFigure,
            borderaxespad=0,
            borderpad=0.1,
            ncols=legend_columns,
        )
        canvas.text(_LEFT / width, 0.07 / height, caption, fontsize=7, va="bottom")
        save_figure(canvas, path)


def write_score(axes: Axes, value: float) -> None:
    """A number in the lower right corner."""
    axes.text(
        0.97,
        0.04,
        f"{value:.2f}",
        transform=axes.transAxes,
        ha="right",
        va="bottom",
        color="white",
        fontsize=8,
        path_effects=[Stroke(linewidth=2.2, foreground="#000000"), Normal()],
    )


def check_panels(
    images: Sequence[Image],
    truths: Sequence[Image],
    predictions: Mapping[str, Maps],
    titles: Sequence[str],
) -> None:
    """Check that lists are equally long, and maps as large as their images.

    Raises:
        ValueError: they are not, or there is no image.
    """
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
