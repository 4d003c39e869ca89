"""Figure 1c: training time against inference time, ours beside the paper's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from naslora.report.figures.captions import setting
from naslora.report.figures.inputs import Inputs, NothingToDrawError
from naslora.report.figures.saving import save_figure
from naslora.report.figures.style import figure, in_drawing_order, legend_columns, method_styles
from naslora.report.tables.model import run_title
from naslora.results.costs import Cost, paper_costs, read_costs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TASK = "isic2017"  # Table 5's
_HEIGHT = 2.9


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
    methods = [name for name in study.methods if name in costs.by_method or name in printed]
    with figure(_HEIGHT) as canvas:
        ours, theirs = canvas.subplots(1, 2)
        _panel(ours, costs.by_method, study.methods)
        ours.set(title=f"Study {study.study}", xlabel=f"{costs.inference} (ms per image)")
        _panel(theirs, printed, study.methods)
        theirs.set(title="Paper, Table 5 (ISIC 2017, V100)", xlabel="inference (ms per image)")
        canvas.legend(
            [_handle(study.methods, method) for method in methods],
            [run_title(records, method) for method in methods],
            loc="lower center",
            ncols=legend_columns(len(methods)),
        )
        canvas.tight_layout(pad=0.3, w_pad=1.5, rect=(0, 0.13, 1, 1))
        caption = [
            "Training time per epoch and inference time per image.",
            setting(study),
            f"Times of the study: {costs.source}; {costs.spread}.",
            "Training is the mean over the schedule, with and without updates of alpha.",
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


def _panel(axes: Axes, costs: dict[str, Cost], methods: Sequence[str]) -> None:
    if not costs:
        axes.text(0.5, 0.5, "no number", transform=axes.transAxes, ha="center", color="0.4")
        axes.set_ylabel("training (per epoch)")
        return
    minutes = max(cost.epoch_s for cost in costs.values()) >= 120
    unit, seconds = ("min", 60) if minutes else ("s", 1)
    for method in in_drawing_order(list(costs)):
        cost, style = costs[method], _marker(methods, method)
        x, y = 1000 * cost.image_s, cost.epoch_s / seconds
        axes.errorbar(
            x,
            y,
            xerr=_reach(x, [1000 * end for end in cost.image_range]),
            yerr=_reach(y, [end / seconds for end in cost.epoch_range]),
            elinewidth=0.7,
            **style,
        )
    axes.set_ylabel(f"training ({unit} per epoch)")
    axes.margins(0.1)
    axes.set_ylim(bottom=0)


def _reach(middle: float, ends: Sequence[float]) -> list[list[float]]:
    """How far an error bar reaches to either side."""
    low, high = ends
    return [[middle - low], [high - middle]]


def _marker(methods: Sequence[str], method: str) -> dict[str, Any]:
    """A hollow marker, so that methods at the same point are both visible."""
    style = method_styles(methods)[method]
    return {
        "marker": style.marker,
        "color": style.colour,
        "markerfacecolor": "none",
        "markersize": 5,
        "markeredgewidth": 1.1,
        "linestyle": "none",
    }


def _handle(methods: Sequence[str], method: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], **_marker(methods, method))
