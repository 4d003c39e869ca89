"""Training losses over epochs: mean and band over seeds, as in the paper's Figure C1."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from naslora.report.aggregate import Aggregate
from naslora.report.style import COLOURS, DASHES, figure, save_png
from naslora.report.tables import run_title
from naslora.settings import Study

_PANEL_WIDTH, _PANEL_HEIGHT, _LEGEND_LINE = 3.6, 2.5, 0.2
_LEGEND_COLUMNS = 4
_PANELS_PER_ROW = 3


def draw_losses(study: Study, records: Aggregate, path: Path) -> None:
    """Draw the mean training loss per epoch: a panel per task, a line per method or variant.

    The band is one sample standard deviation over seeds to either side. A vertical line marks
    T_B, the last epoch before architecture parameters are trained, where a run has any.

    Raises:
        DiskError: the file cannot be written.
    """
    tasks = study.tasks
    across = min(len(tasks), _PANELS_PER_ROW)
    down = -(-len(tasks) // across)
    legend = _LEGEND_LINE * (1 + -(-len(study.run_names()) // _LEGEND_COLUMNS))
    height = down * _PANEL_HEIGHT + legend
    with figure(max(across * _PANEL_WIDTH, 6.0), height) as canvas:
        panels = canvas.subplots(down, across, squeeze=False).ravel()
        for axes, task in zip(panels, tasks, strict=False):
            _panel(axes, study, records, task)
        for axes in panels[len(tasks) :]:
            axes.set_axis_off()
        found = {
            text: handle
            for axes in panels
            for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        if found:
            canvas.legend(
                list(found.values()),
                list(found),
                loc="lower center",
                ncols=min(len(found), _LEGEND_COLUMNS),
            )
        canvas.tight_layout(rect=(0, legend / height, 1, 1))
        save_png(canvas, path)


def _panel(axes: Axes, study: Study, records: Aggregate, task: str) -> None:
    losses = records.losses[
        (records.losses["task"] == task) & records.losses["seed"].isin(study.seeds)
    ]
    axes.set_title(task)
    axes.set_xlabel("epoch")
    axes.set_ylabel("training loss")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    if losses.empty:
        axes.text(0.5, 0.5, "no run", transform=axes.transAxes, ha="center", color="0.4")
    for index, name in enumerate(study.run_names()):
        mine = losses[losses["variant"] == name]
        if not mine.empty:
            _line(axes, mine, run_title(records, name), index)
    for start in _start_epochs(study, records, task):
        axes.axvline(start + 0.5, color="0.4", linewidth=0.8, linestyle=":")
        axes.annotate(
            f"$T_B$ = {start}",
            (start + 0.5, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, -3),
            textcoords="offset points",
            va="top",
            color="0.3",
            fontsize=8,
        )


def _line(axes: Axes, losses: pd.DataFrame, title: str, index: int) -> None:
    by_epoch = losses.groupby("epoch")["loss"]
    mean, spread = by_epoch.mean(), by_epoch.std().fillna(0.0)
    colour = COLOURS[index % len(COLOURS)]
    dash = DASHES[(index + index // len(COLOURS)) % len(DASHES)]
    axes.plot(mean.index, mean, color=colour, linestyle=dash, label=title)
    axes.fill_between(
        mean.index, mean - spread, mean + spread, color=colour, alpha=0.18, linewidth=0
    )


def _start_epochs(study: Study, records: Aggregate, task: str) -> Sequence[int]:
    runs = records.runs[(records.runs["task"] == task) & records.runs["searches"].astype(bool)]
    return sorted(
        {
            study.run(task, variant, 0).training.architecture.start_epoch
            for variant in set(runs["variant"])
        }
    )
