"""Figure 1c: training time against inference time, ours beside the paper's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from naslora.report.figures.captions import setting
from naslora.report.figures.inputs import Inputs, NothingToDrawError
from naslora.report.figures.labelling import Point, label_points, nested_sizes
from naslora.report.figures.saving import save_figure
from naslora.report.figures.style import figure, in_drawing_order, study_styles
from naslora.report.tables.model import run_title
from naslora.results.costs import Cost, paper_costs, read_costs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from naslora.study.settings import Study

TASK = "isic2017"  # Table 5's
_HEIGHT = 2.7  # inches
_SIZE, _STEP = 4.5, 4.0  # points: of a marker, and of the next one around it


def draw_costs(inputs: Inputs, path: Path) -> None:
    """Draw training time per epoch against inference time per image: our panel and the paper's.

    Ours are the timing protocol's numbers or, without any, the wall times in records; the caption
    says which. Error bars go from the minimum to the maximum of the repeats or seeds.

    Raises:
        NothingToDrawError: nothing was measured.
        RecordError: a record changed while the figure was drawn.
        DiskError: a file cannot be written.
    """
    study, records = inputs.study, inputs.records
    task = TASK if TASK in study.tasks else study.tasks[0]
    costs = read_costs(study, records, task)
    if not costs.by_method:
        raise NothingToDrawError("nothing was timed, and no record has times")
    printed = {name: cost for name, cost in paper_costs().items() if name in study.methods}
    frame = pd.concat([_frame("study", costs.by_method), _frame("paper", printed)])
    with figure(_HEIGHT) as canvas:
        panels = canvas.subplots(1, 2)
        titles = (f"Study {study.study}", "Paper, Table 5 (ISIC 2017, V100)")
        sources = (costs.inference, "inference")
        both = (costs.by_method, printed)
        drawn = []
        for axes, title, source, mine in zip(panels, titles, sources, both, strict=True):
            drawn.append(_intervals(axes, mine, study))
            axes.set(title=title, xlabel=f"{source} (ms per image)")
        canvas.tight_layout(pad=0.3, w_pad=1.5)
        sizes = [
            _points(axes, points, bars, inputs)
            for axes, (points, bars) in zip(panels, drawn, strict=True)
        ]
        nested = any(size > _SIZE for mine in sizes for size in mine.values())
        caption = [
            "Training time per epoch and inference time per image.",
            setting(study),
            f"Times of the study: {costs.source}; {costs.spread}.",
            "Training is the mean over the schedule, with and without updates of alpha.",
            *(["Larger markers surround smaller ones at nearly the same point."] if nested else []),
            *(f"Left out: {problem}." for problem in costs.problems),
        ]
        save_figure(canvas, path, " ".join(caption), frame)


def _frame(source: str, costs: dict[str, Cost]) -> pd.DataFrame:
    columns = ["source", "method", "training_s_per_epoch", "training_low", "training_high"]
    columns += ["inference_s_per_image", "inference_low", "inference_high"]
    lines = [
        (source, method, cost.epoch_s, *cost.epoch_range, cost.image_s, *cost.image_range)
        for method, cost in costs.items()
    ]
    return pd.DataFrame(lines, columns=columns)


def _intervals(
    axes: Axes, costs: dict[str, Cost], study: Study
) -> tuple[dict[str, Point], list[tuple[Point, Point]]]:
    """Draw the intervals and set the limits; the points that belong to them, and their ends."""
    if not costs:
        axes.text(0.5, 0.5, "no number", transform=axes.transAxes, ha="center", color="0.4")
        axes.set_ylabel("training (per epoch)")
        return {}, []
    minutes = max(cost.epoch_s for cost in costs.values()) >= 120
    unit, seconds = ("min", 60) if minutes else ("s", 1)
    styles = study_styles(study)
    points, bars = {}, []
    for method in in_drawing_order(list(costs)):
        cost = costs[method]
        x, y = points[method] = (1000 * cost.image_s, cost.epoch_s / seconds)
        across = [1000 * end for end in cost.image_range]
        up = [end / seconds for end in cost.epoch_range]
        bars += [((across[0], y), (across[1], y)), ((x, up[0]), (x, up[1]))]
        axes.errorbar(
            x,
            y,
            xerr=_reach(x, across),
            yerr=_reach(y, up),
            color=styles[method].colour,
            linestyle="none",
            elinewidth=0.7,
        )
    axes.set_ylabel(f"training ({unit} per epoch)")
    axes.margins(0.1)
    axes.set_ylim(bottom=0)
    return points, bars


def _points(
    axes: Axes,
    points: dict[str, Point],
    bars: list[tuple[Point, Point]],
    inputs: Inputs,
) -> dict[str, float]:
    """Draw hollow markers with names, and give their sizes, which differ at one point."""
    styles = study_styles(inputs.study)
    order = in_drawing_order(list(points))[::-1]
    sizes = nested_sizes(axes, {method: points[method] for method in order}, _SIZE, _STEP)
    for method in order[::-1]:
        axes.plot(
            *points[method],
            linestyle="none",
            marker=styles[method].marker,
            color=styles[method].colour,
            markerfacecolor="none",
            markersize=sizes[method],
            markeredgewidth=1.1,
        )
    labels = {method: run_title(inputs.records, method) for method in points}
    colours = {method: styles[method].colour for method in points}
    label_points(axes, points, labels, colours, sizes, bars)
    return sizes


def _reach(middle: float, ends: Sequence[float]) -> list[list[float]]:
    """How far an error bar reaches to either side."""
    low, high = ends
    return [[middle - low], [high - middle]]
