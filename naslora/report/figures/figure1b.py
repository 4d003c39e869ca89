"""Figure 1b: every method on every data set, ours beside the paper's numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from naslora.paper.published import METHOD_ROWS, printed, rows
from naslora.report.figures.style import OTHERS, PAPER, SEARCHED, figure, save_figure, say
from naslora.report.tables import table1, table2, table3
from naslora.report.tables.model import Column, TableSpec, run_title
from naslora.results.aggregate import Aggregate
from naslora.study.settings import Study

# One column for each data set, the first that the paper prints; Table 3's Acc, as its mIoU mixes
# two definitions.
_CHOSEN = (
    (table1.TABLE, ("kvasir_S", "cvc_S", "isic2017_Jac", "camo_S", "sbu_BER", "leaf_IoU")),
    (table1.TABLE, ("road_IoU",)),
    (table2.TABLE, ("easy_mIoU", "hard_mIoU")),
    (table3.TABLE, ("Acc",)),
)
_NAMES = {
    "easy_mIoU": "Trans10K-v1, easy mIoU",
    "hard_mIoU": "Trans10K-v1, hard mIoU",
    "Acc": "Trans10K-v2 Acc",
}
_ACROSS = 5
_PANEL_WIDTH, _LABELS, _LINE, _EXTRA, _FOOT = 1.75, 1.15, 0.19, 0.75, 0.55


def draw_scores(study: Study, records: Aggregate, path: Path) -> None:
    """Draw a panel per data set of the study and a line per method.

    A dot is our mean over seeds, with a bar from the least to the greatest; a diamond is the
    paper's number. Panels have their own scales.

    Raises:
        DiskError: a file cannot be written.
    """
    panels = [
        (spec, column)
        for spec, keys in _CHOSEN
        for key in keys
        for column in spec.columns
        if column.key == key and column.task in study.tasks
    ]
    methods = study.methods[::-1]
    across = min(len(panels), _ACROSS) or 1
    down = -(-len(panels) // across) or 1
    width = max(_LABELS + across * _PANEL_WIDTH, 6.0)
    height = down * (_LINE * len(methods) + _EXTRA) + _FOOT
    with figure(width, height) as canvas:
        if panels:
            grid = canvas.subplots(down, across, sharey=True, squeeze=False).ravel()
            for axes, (spec, column) in zip(grid, panels, strict=False):
                _panel(axes, study, records, spec, column, methods)
            for axes in grid[len(panels) :]:
                axes.set_axis_off()
            titles = [run_title(records, method) for method in methods]
            grid[0].set_yticks(range(len(methods)), titles)
            grid[0].set_ylim(-0.6, len(methods) - 0.4)
        else:
            say(canvas, f"study {study.study} has none of the paper's data sets")
        _legend(canvas, study)
        canvas.tight_layout(rect=(0, _FOOT / height, 1, 1))
        save_figure(canvas, path)


def _panel(
    axes: Axes,
    study: Study,
    records: Aggregate,
    spec: TableSpec,
    column: Column,
    methods: Sequence[str],
) -> None:
    data_set, _, metric = _NAMES.get(column.key, column.title).rpartition(" ")
    axes.set_title(data_set)
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"{metric} (%) {column.arrow}")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
    empty = True
    for place, method in enumerate(methods):
        found = records.values(column.task, column.test_set, method, column.metric)
        values = [v * column.scale for seed, v in found.items() if seed in study.seeds]
        colour = SEARCHED.get(method, OTHERS)
        if values:
            empty = False
            axes.plot([min(values), max(values)], [place] * 2, color=colour, linewidth=2)
            axes.plot(fmean(values), place, "o", color=colour, markersize=5)
        row = METHOD_ROWS.get(method)
        number = printed(spec.paper, row, column.key) if row in rows(spec.paper) else None
        if number is not None:
            axes.plot(number.value, place, "D", color=PAPER, markersize=4.5, fillstyle="none")
    if empty:
        axes.text(0.03, 0.98, "no run is done", transform=axes.transAxes, va="top", color="0.4")


def _legend(canvas: Figure, study: Study) -> None:
    seeds = "one seed" if len(study.seeds) == 1 else f"{len(study.seeds)} seeds, mean and range"
    handles = [
        Line2D([], [], color=colour, marker="o", markersize=5, linewidth=2)
        for colour in (*(SEARCHED[m] for m in study.methods if m in SEARCHED), OTHERS)
    ]
    names = [METHOD_ROWS[method] for method in study.methods if method in SEARCHED]
    handles.append(
        Line2D([], [], color=PAPER, marker="D", markersize=4.5, fillstyle="none", linestyle="")
    )
    canvas.legend(
        handles,
        [*names, "other methods", "printed in the paper"],
        loc="lower center",
        ncols=len(handles),
        bbox_to_anchor=(0.5, 0.16 / canvas.get_figheight()),
    )
    canvas.text(
        0.01,
        0.04 / canvas.get_figheight(),
        f"Study {study.study}: SAM {study.sam.backbone}, {study.sam.image_size} px; {seeds}.",
        fontsize=7,
        va="bottom",
    )
