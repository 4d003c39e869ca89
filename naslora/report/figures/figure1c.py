"""Figure 1c: what training costs against what inference takes, ours beside the paper's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from naslora.report.figures.style import COLOURS, MARKERS, figure, save_figure
from naslora.report.tables.model import run_title
from naslora.results.aggregate import Aggregate
from naslora.results.costs import Cost, paper_costs, read_costs
from naslora.study.settings import Study

TASK = "isic2017"  # Table 5's
_COLOURS = COLOURS[:-1]  # yellow lines are hard to see on white
_WIDTH, _HEIGHT, _FOOT = 8.6, 3.5, 0.32


def draw_costs(study: Study, records: Aggregate, path: Path) -> None:
    """Draw training cost per epoch against inference time per image: our panel and the paper's.

    Ours are the timing protocol's numbers or, without any, the wall times in records; the figure
    says which.

    Raises:
        RecordError: a record changed while the figure was drawn.
        DiskError: a file cannot be written.
    """
    task = TASK if TASK in study.tasks else study.tasks[0]
    costs = read_costs(study, records, task)
    look = {
        method: (MARKERS[index % len(MARKERS)], _COLOURS[index % len(_COLOURS)])
        for index, method in enumerate(study.methods)
    }
    with figure(_WIDTH, _HEIGHT) as canvas:
        ours, theirs = canvas.subplots(1, 2)
        _panel(ours, costs.by_method, look, f"Study {study.study}", costs.inference)
        _panel(theirs, paper_costs(), look, "Paper, Table 5 (ISIC 2017, V100)", "inference")
        methods = [m for m in study.methods if m in costs.by_method or m in paper_costs()]
        canvas.legend(
            [Line2D([], [], linestyle="", **_marker(look[method])) for method in methods],
            [run_title(records, method) for method in methods],
            loc="center right",
        )
        lines = [
            f"Study {study.study}: {costs.source}. Training is the mean over the schedule, with "
            "and without updates of alpha.",
            *costs.problems,
        ]
        canvas.text(0.01, 0.02, "\n".join(lines), fontsize=7, va="bottom")
        canvas.tight_layout(rect=(0, _FOOT / _HEIGHT, 0.84, 1))
        save_figure(canvas, path)


def _panel(
    axes: Axes,
    costs: Mapping[str, Cost],
    look: Mapping[str, tuple[str, str]],
    title: str,
    inference: str,
) -> None:
    axes.set_title(title)
    axes.set_xlabel(f"{inference} (ms per image)")
    if not costs:
        axes.text(
            0.5,
            0.5,
            "nothing measured yet",
            transform=axes.transAxes,
            ha="center",
            color="0.4",
        )
        axes.set_ylabel("training (per epoch)")
        return
    unit, seconds = ("min", 60) if max(c.epoch_s for c in costs.values()) >= 120 else ("s", 1)
    axes.set_ylabel(f"training ({unit} per epoch)")
    for method, cost in costs.items():
        if method in look:
            axes.plot(1000 * cost.image_s, cost.epoch_s / seconds, **_marker(look[method]))
    axes.margins(0.12)
    axes.set_ylim(bottom=0)


def _marker(look: tuple[str, str]) -> dict[str, Any]:
    """Hollow, so that methods at the same place are both seen."""
    return {
        "marker": look[0],
        "color": look[1],
        "fillstyle": "none",
        "markersize": 7,
        "markeredgewidth": 1.6,
    }
