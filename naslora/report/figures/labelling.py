"""Names beside the points of a scatter plot, where they cover neither points nor each other.

Not by adjustText: it lets names lie on error bars, and fails for points at one place.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from naslora.report.figures.style import SMALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

Point = tuple[float, float]
Place = NDArray[np.float64]  # x and y in points
_TURNS = 16  # directions in which a name may stand
_REACHES = (5.0, 8.0, 12.0, 17.0, 23.0, 30.0)  # points from the point to its name
_NEAR = 5.0  # points; a name that is farther away has a line to its point
# What a place costs, in points of reach: covering a point or a name, crossing an interval, and
# being nearer to another point.
_COVERS, _CROSSES, _STRAYS = 1000.0, 4.0, 12.0


def nested_sizes(
    axes: Axes, points: Mapping[str, Point], smallest: float, step: float
) -> dict[str, float]:
    """The size of each point's marker, such that hollow markers at one place surround each other.

    Args:
        axes: with their final limits and place in the figure.
        points: by name, in data coordinates; the first ones get the smallest markers.
        smallest: size of a marker in points.
        step: the same of the difference between two markers at one place.
    """
    places = {name: _in_points(axes, point) for name, point in points.items()}
    sizes: dict[str, float] = {}
    for name, place in places.items():
        taken = {
            sizes[other] for other in sizes if np.hypot(*(place - places[other])) < 0.7 * smallest
        }
        free = (smallest + step * level for level in itertools.count())
        sizes[name] = next(size for size in free if size not in taken)
    return sizes


def label_points(
    axes: Axes,
    points: Mapping[str, Point],
    labels: Mapping[str, str],
    colours: Mapping[str, str],
    sizes: Mapping[str, float],
    crossed: Sequence[tuple[Point, Point]] = (),
) -> None:
    """Write the name of each point beside it, with a line to the point where that is not close.

    Args:
        axes: with their final limits and place in the figure.
        points: by name, in data coordinates.
        labels: by name.
        colours: of the labels, which are a bit darker, by name.
        sizes: of the markers, in points.
        crossed: ends of intervals, which names should not cross.
    """
    from matplotlib.colors import to_rgb
    from matplotlib.transforms import Bbox

    scale = 72 / _dpi(axes)
    panel = Bbox(axes.get_window_extent().get_points() * scale)
    places = {name: _in_points(axes, point) for name, point in points.items()}
    bars = [
        Bbox([_in_points(axes, low), _in_points(axes, high)]).padded(0.7) for low, high in crossed
    ]
    taken = [_box(places[name], (sizes[name] + 1,) * 2) for name in points]  # markers, then names

    def cost(name: str, box: Bbox, reach: float) -> float:
        covered = sum(box.overlaps(other) for other in taken) + (not _inside(box, panel))
        crosses = sum(box.overlaps(other) for other in bars)
        mine = _distance(box, places[name])
        others = [_distance(box, place) for other, place in places.items() if other != name]
        strays = sum(distance < mine + 3 for distance in others)
        return reach + _COVERS * covered + _CROSSES * crosses + _STRAYS * strays

    def crowd(name: str) -> int:
        return sum(bool(np.hypot(*(places[name] - other)) < 25) for other in places.values())

    for name in sorted(points, key=crowd, reverse=True):
        text = axes.annotate(labels[name], points[name], fontsize=SMALL)
        width, height = scale * np.asarray(text.get_window_extent().size)
        text.remove()
        choices = []
        for reach, turn in itertools.product(_REACHES, range(_TURNS)):
            angle = 2 * np.pi * turn / _TURNS
            away = reach + sizes[name] / 2 - 2
            aside = (away + width / 2) * np.cos(angle), (away + height / 2) * np.sin(angle)
            box = _box(places[name] + aside, (width, height))
            choices.append((cost(name, box, reach), reach, aside, box))
        _, reach, aside, box = min(choices, key=lambda choice: choice[0])
        taken.append(box.padded(0.5))
        line = {
            "arrowstyle": "-",
            "color": colours[name],
            "linewidth": 0.5,
            "shrinkA": 0.5,
            "shrinkB": sizes[name] / 2,
        }
        axes.annotate(
            labels[name],
            points[name],
            xytext=aside,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=SMALL,
            color=0.75 * np.array(to_rgb(colours[name])),
            arrowprops=line if reach > _NEAR else None,
        )


def _in_points(axes: Axes, point: Point) -> Place:
    """Where a point of the data is in the figure, in points."""
    return np.asarray(axes.transData.transform(point)) * 72 / _dpi(axes)


def _dpi(axes: Axes) -> float:
    canvas = axes.get_figure(root=True)
    assert canvas is not None
    return float(canvas.dpi)


def _box(centre: Place, size: tuple[float, float]) -> Bbox:
    from matplotlib.transforms import Bbox

    half = np.array(size) / 2
    return Bbox([centre - half, centre + half])


def _distance(box: Bbox, place: Place) -> float:
    """How far a box is from a place."""
    nearest = np.clip(place, box.min, box.max)
    return float(np.hypot(*(nearest - place)))


def _inside(box: Bbox, page: Bbox) -> bool:
    return bool(page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1)
