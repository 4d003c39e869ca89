"""Points of a scatter plot that are at nearly one place, and their names."""

from __future__ import annotations

from itertools import combinations

from matplotlib.text import Text

from naslora.report.figures.labelling import label_points, nested_sizes
from naslora.report.figures.style import figure

# Two at one place, one beside them, one in a corner, and one alone.
POINTS = {"a": (5.0, 5.0), "b": (5.0, 5.01), "c": (5.1, 5.0), "d": (10.0, 10.0), "e": (2.0, 8.0)}


def test_markers_at_one_place_surround_each_other() -> None:
    with figure(2, width=2) as canvas:
        axes = canvas.subplots()
        axes.set(xlim=(0, 10), ylim=(0, 10))
        sizes = nested_sizes(axes, POINTS, 4, 3)
    assert sizes == {"a": 4, "b": 7, "c": 10, "d": 4, "e": 4}


def test_names_are_apart_inside_the_panel_and_beside_their_points() -> None:
    with figure(2, width=2) as canvas:
        axes = canvas.subplots()
        axes.set(xlim=(0, 10), ylim=(0, 10))
        names = {name: f"method {name}" for name in POINTS}
        sizes = nested_sizes(axes, POINTS, 4, 3)
        label_points(axes, POINTS, names, dict.fromkeys(POINTS, "#0072B2"), sizes)
        canvas.draw_without_rendering()
        extents = {text.get_text(): Text.get_window_extent(text) for text in axes.texts}
        assert set(extents) == set(names.values())
        panel = axes.get_window_extent()
        for name, extent in extents.items():
            assert panel.x0 - 1 <= extent.x0 < extent.x1 <= panel.x1 + 1, name
            assert panel.y0 - 1 <= extent.y0 < extent.y1 <= panel.y1 + 1, name
            for point in POINTS.values():
                assert not extent.contains(*axes.transData.transform(point)), name
        for one, other in combinations(extents.values(), 2):
            assert not one.padded(-1).overlaps(other)
        alone = extents["method e"].padded(canvas.dpi * 10 / 72)
        assert alone.contains(*axes.transData.transform(POINTS["e"]))
