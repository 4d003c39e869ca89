"""A grid of small pictures: a labelled row per image, a headed column per kind of picture."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import Normal, Stroke
from numpy.typing import NDArray

from naslora.report.figures.class_maps import CLASS_COLOURS
from naslora.report.figures.style import COLOURS, figure, save_figure, say

Picture = NDArray[Any]  # RGB, (H, W, 3), uint8 or float in [0, 1]
MISSED, FALSE_ALARM = COLOURS[0], COLOURS[4]
_PANEL, _GAP, _LABEL, _HEAD, _LINE = 0.95, 0.04, 0.42, 0.36, 0.17
_LEAST_WIDTH = 5.2
_TALLEST = 1.2  # height of a panel by its width; taller images are narrower than their panel


class Cell:
    """A picture of the grid, and what is written in its corner."""

    def __init__(self, picture: Picture, corner: str = ""):
        self.picture = picture
        self.corner = corner


def draw_grid(
    rows: Sequence[tuple[str, Sequence[Cell | None]]],
    headings: Sequence[str],
    path: Path,
    *,
    legend: Sequence[tuple[Artist, str]] = (),
    captions: Sequence[str] = (),
) -> None:
    """Draw the grid and write it as PNG and PDF.

    Args:
        rows: a label, and a picture per heading; None where there is none, which is marked.
        headings: of the columns.
        path: where to write, with the suffix .png.
        legend: handles and labels.
        captions: sentences under the picture, each on lines of its own.

    Raises:
        DiskError: a file cannot be written.
    """
    heights = [_row_height(cells) for _, cells in rows]
    width = max(_LABEL + len(headings) * (_PANEL + _GAP), _LEAST_WIDTH)
    lines = [line for caption in captions for line in textwrap.wrap(caption, int(15 * width))]
    longest = max((len(label) for _, label in legend), default=0)
    across = max(1, int(width / (0.45 + 0.062 * longest)))
    foot = _LINE * (len(lines) + -(-len(legend) // across)) + 0.12
    body = sum(heights) + _GAP * len(heights)
    height = _HEAD + (body if rows else 1.2) + foot
    with figure(width, height) as canvas:
        # One pair of axes for all pictures: one for each would take ten times as long.
        axes = canvas.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        top = height - _HEAD
        for column, heading in enumerate(headings if rows else ()):
            x = _LABEL + column * (_PANEL + _GAP) + _PANEL / 2
            canvas.text(
                x / width,
                (top + 0.05) / height,
                heading.replace(" (", "\n("),
                ha="center",
                va="bottom",
                fontsize=7.5,
            )
        for (label, cells), tall in zip(rows, heights, strict=True):
            top -= tall + _GAP
            _draw_row(axes, cells, top, tall)
            canvas.text(
                _LABEL / 2 / width,
                (top + tall / 2) / height,
                textwrap.fill(label, 12),
                rotation=90,
                ha="center",
                va="center",
                fontsize=6.5,
                linespacing=1.1,
            )
        axes.set(xlim=(0, width), ylim=(0, height))
        if not rows:
            say(canvas, "no run is done, so there is nothing to show")
        if legend:
            canvas.legend(
                [handle for handle, _ in legend],
                [label for _, label in legend],
                loc="lower left",
                bbox_to_anchor=(0.06 / width, (_LINE * len(lines) + 0.04) / height),
                bbox_transform=canvas.transFigure,
                borderaxespad=0,
                borderpad=0.1,
                fontsize=7,
                ncols=across,
            )
        canvas.text(0.06 / width, 0.04 / height, "\n".join(lines), fontsize=6.5, va="bottom")
        save_figure(canvas, path)


def error_map(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> Picture:
    """A binary mask: right foreground white, missed and false foreground in colours."""
    picture = np.zeros((*truth.shape, 3))
    picture[predicted & truth] = 1
    picture[~predicted & truth] = to_rgb(MISSED)
    picture[predicted & ~truth] = to_rgb(FALSE_ALARM)
    return picture


def class_map(numbers: NDArray[np.integer]) -> Picture:
    """Class numbers (H, W) in the colours of classes, background black."""
    colours = [CLASS_COLOURS[i % len(CLASS_COLOURS)] for i in range(max(int(numbers.max()), 1))]
    palette = np.array([(0.0, 0.0, 0.0), *map(to_rgb, colours)])
    return np.asarray(palette[numbers])


def heat_map(image: Picture, heat: NDArray[np.floating]) -> Picture:
    """A map in [0, 1] over a grey image, both (H, W), in a scale that rises in lightness."""
    grey = image.mean(axis=2, keepdims=True) / 255
    coloured = matplotlib.colormaps["inferno"](heat)[..., :3]
    return np.asarray(0.35 * grey + 0.65 * coloured)


def error_legend() -> list[tuple[Artist, str]]:
    """What the colours of `error_map` mean."""
    names = {"white": "right", MISSED: "missed", FALSE_ALARM: "false alarm"}
    return [(Patch(facecolor=c, edgecolor="0.4", linewidth=0.5), n) for c, n in names.items()]


def class_legend(numbers: Sequence[int], classes: Sequence[str]) -> list[tuple[Artist, str]]:
    """What the colours of `class_map` mean."""
    return [
        (Patch(color=CLASS_COLOURS[(n - 1) % len(CLASS_COLOURS)]), classes[n]) for n in numbers if n
    ]


def small(picture: Picture, side: int = 240) -> Picture:
    """Every n-th pixel, so that no side is much longer than `side`: a figure shows no more."""
    step = max(1, round(max(picture.shape[:2]) / side))
    return picture[::step, ::step]


def _row_height(cells: Sequence[Cell | None]) -> float:
    shapes = [cell.picture.shape for cell in cells if cell]
    return _PANEL * min(shapes[0][0] / shapes[0][1], _TALLEST) if shapes else _PANEL


def _draw_row(axes: Axes, cells: Sequence[Cell | None], bottom: float, tall: float) -> None:
    """Draw on axes whose unit is an inch."""
    for column, cell in enumerate(cells):
        left = _LABEL + column * (_PANEL + _GAP)
        if cell is None:
            frame = Rectangle((left, bottom), _PANEL, tall, fill=False, edgecolor="0.8")
            axes.add_patch(frame)
            middle = (left + _PANEL / 2, bottom + tall / 2)
            axes.text(*middle, "not done", ha="center", va="center", color="0.5", fontsize=6.5)
            continue
        wide = min(_PANEL, tall * cell.picture.shape[1] / cell.picture.shape[0])
        right = left + (_PANEL + wide) / 2
        extent = (right - wide, right, bottom, bottom + tall)
        axes.imshow(small(cell.picture), extent=extent, aspect="auto", interpolation="antialiased")
        axes.text(
            right - 0.03,
            bottom + 0.03,
            cell.corner,
            ha="right",
            va="bottom",
            color="white",
            fontsize=6.5,
            path_effects=[Stroke(linewidth=1.8, foreground="#000000"), Normal()],
        )
