"""A grid of pictures: a labelled row per image, a headed column per kind of picture."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from naslora.report.figures.overlays import Contour, Picture, thumbnail
from naslora.report.figures.style import SMALL, WIDTH, figure

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GAP, _LINE, _NOTE = 0.03, 0.105, 0.1  # inches
_LETTER = 0.047  # inches: width of a letter of the smallest size, on average
_LABEL = 12  # letters in a line of a row's label
_WIDEST, _TALLEST = 1.6, 1.2  # a panel's largest width in inches, and height relative to width
_PIXELS_PER_INCH = 300


@dataclass(frozen=True)
class Cell:
    """A picture of the grid.

    Attributes:
        picture: RGB.
        note: a word under it, such as a score.
        outlines: lines on it, each with its colour.
        numbers: texts on it with their places, as `numbered_regions` gives them.
    """

    picture: Picture
    note: str = ""
    outlines: tuple[tuple[Contour, str], ...] = ()
    numbers: tuple[tuple[float, float, int], ...] = ()


@dataclass(frozen=True)
class Row:
    """A label, and a picture per heading; None is drawn as an empty frame, marked `no run`."""

    label: str
    cells: Sequence[Cell | None]


@contextmanager
def draw_grid(
    rows: Sequence[Row],
    headings: Sequence[str],
    *,
    across: int | None = None,
    legend: Sequence[tuple[Artist, str]] = (),
    foot: float = 0.0,
) -> Iterator[Figure]:
    """Draw a grid as wide as a page.

    Args:
        rows: at least one.
        headings: of the columns.
        across: the most columns in a line; a row with more takes several lines, all but the last
            of the same length. By default all.
        legend: handles and labels, under the grid.
        foot: inches to leave free below, such as for a colour bar.
    """
    across = -(-len(headings) // -(-len(headings) // (across or len(headings))))
    labels = [_wrapped(row.label) for row in rows]
    aside = _LETTER * max(len(line) for text in labels for line in text.splitlines()) + 0.1
    panel = min(_WIDEST, (WIDTH - aside) / across - _GAP)
    heads = [_broken(heading, panel) for heading in headings]
    lines = [
        range(start, min(start + across, len(heads))) for start in range(0, len(heads), across)
    ]
    noted = any(cell and cell.note for row in rows for cell in row.cells)
    talls = [_height(row.cells, panel) for row in rows]
    # Headings stand above the first row only, unless a row takes several lines.
    headed = [len(lines) > 1 or number == 0 for number in range(len(rows))]
    heights = [
        [tall + _GAP + noted * _NOTE + (_head(heads, line) if head else 0) for line in lines]
        for tall, head in zip(talls, headed, strict=True)
    ]
    foot += _legend_height(legend)
    height = sum(map(sum, heights)) + foot + 0.04
    with figure(height, dpi=_PIXELS_PER_INCH) as canvas:
        # One pair of axes in inches for all pictures: one for each would take ten times as long.
        axes = canvas.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        top = height
        for row, label, tall, head, parts in zip(rows, labels, talls, headed, heights, strict=True):
            above = _head(heads, lines[0]) if head else 0.0
            _label(axes, label, top - (sum(parts) + above) / 2)
            for line, part in zip(lines, parts, strict=True):
                top -= part
                bottom = top + noted * _NOTE
                for place, column in enumerate(line):
                    left = aside + place * (panel + _GAP)
                    if head:
                        _heading(axes, heads[column], left + panel / 2, bottom + tall + 0.025)
                    _draw(axes, row.cells[column], left, bottom, panel, tall)
        axes.set(xlim=(0, WIDTH), ylim=(0, height))
        if legend:
            _legend(canvas, legend, (foot - 0.02) / height)
        yield canvas


def _broken(heading: str, panel: float) -> str:
    """A heading in lines that are no wider than a panel, broken at spaces and hyphens."""
    return textwrap.fill(heading, max(6, int(panel / _LETTER)), break_long_words=False)


def _head(heads: Sequence[str], line: range) -> float:
    return _LINE * max(heads[column].count("\n") + 1 for column in line) + 0.05


def _height(cells: Sequence[Cell | None], panel: float) -> float:
    shapes = [cell.picture.shape for cell in cells if cell]
    return panel * min(shapes[0][0] / shapes[0][1], _TALLEST) if shapes else panel


def _label(axes: Axes, text: str, middle: float) -> None:
    axes.text(0.03, middle, text, ha="left", va="center", fontsize=SMALL, linespacing=1.05)


def _wrapped(text: str) -> str:
    """A row's label, its lines wrapped at spaces to at most `_LABEL` letters."""
    return "\n".join(
        textwrap.fill(line, _LABEL, break_long_words=False, break_on_hyphens=False)
        for line in text.splitlines()
    )


def _heading(axes: Axes, text: str, middle: float, bottom: float) -> None:
    axes.text(middle, bottom, text, ha="center", va="bottom", fontsize=SMALL, linespacing=1.05)


def _draw(
    axes: Axes, cell: Cell | None, left: float, bottom: float, panel: float, tall: float
) -> None:
    """Draw on axes whose unit is an inch; a narrow picture stands in the middle of its panel."""
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import Normal, Stroke

    if cell is None:
        axes.add_patch(Rectangle((left, bottom), panel, tall, fill=False, edgecolor="0.8"))
        middle = (left + panel / 2, bottom + tall / 2)
        axes.text(*middle, "no run", ha="center", va="center", color="0.4", fontsize=SMALL)
        return
    rows, columns = cell.picture.shape[:2]
    wide = min(panel, tall * columns / rows)
    start = left + (panel - wide) / 2
    axes.imshow(
        thumbnail(cell.picture, round(_PIXELS_PER_INCH * max(wide, tall))),
        extent=(start, start + wide, bottom, bottom + tall),
        aspect="auto",
        interpolation="antialiased",
    )
    across, down = wide / columns, tall / rows
    for outline, colour in cell.outlines:
        x, y = start + (outline[:, 0] + 0.5) * across, bottom + tall - (outline[:, 1] + 0.5) * down
        rim = [Stroke(linewidth=1.5, foreground="black"), Normal()]
        axes.plot(x, y, color=colour, linewidth=0.7, path_effects=rim)
    for column, line, number in cell.numbers:
        axes.text(
            start + (column + 0.5) * across,
            bottom + tall - (line + 0.5) * down,
            str(number),
            ha="center",
            va="center",
            color="white",
            fontsize=SMALL,
            path_effects=[Stroke(linewidth=1.5, foreground="black"), Normal()],
        )
    axes.text(left + panel / 2, bottom - 0.015, cell.note, ha="center", va="top", fontsize=SMALL)


def _columns(legend: Sequence[tuple[Artist, str]]) -> int:
    longest = max(len(label) for _, label in legend)
    return max(1, min(len(legend), int((WIDTH - 0.1) / (0.36 + 0.052 * longest))))


def _legend_height(legend: Sequence[tuple[Artist, str]]) -> float:
    return 0.135 * -(-len(legend) // _columns(legend)) + 0.06 if legend else 0.0


def _legend(canvas: Figure, legend: Sequence[tuple[Artist, str]], top: float) -> None:
    columns = _columns(legend)
    # matplotlib fills columns first; a legend is read row by row.
    ordered = [entry for column in range(columns) for entry in legend[column::columns]]
    canvas.legend(
        [handle for handle, _ in ordered],
        [label for _, label in ordered],
        loc="upper left",
        bbox_to_anchor=(0.06 / WIDTH, top),
        bbox_transform=canvas.transFigure,
        borderaxespad=0,
        borderpad=0.1,
        handlelength=1.4,
        labelspacing=0.35,
        columnspacing=1.2,
        ncols=columns,
    )
