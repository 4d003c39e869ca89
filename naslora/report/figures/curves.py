"""Figure C1: training losses over epochs, the searched methods with mean and band over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from naslora.data.benchmarks.contract import get_benchmark
from naslora.paper.published import METHOD_ROWS
from naslora.report.figures.style import OTHERS, SEARCHED, SEARCHED_DASHES, figure, save_figure
from naslora.results.aggregate import Aggregate
from naslora.study.settings import Study

_PANEL_WIDTH, _PANEL_HEIGHT, _FOOT = 2.9, 2.3, 0.55
_PANELS_PER_ROW = 3


def draw_losses(study: Study, records: Aggregate, path: Path) -> None:
    """Draw the mean training loss per epoch: a panel per task.

    NAS-LoRA and NAS-PC-LoRA have a band of one sample standard deviation over seeds to either
    side; other methods are thin grey lines. A vertical line marks T_B, the last epoch before
    architecture parameters are trained, where a run has any.

    Raises:
        DiskError: a file cannot be written.
    """
    tasks = study.tasks
    across = min(len(tasks), _PANELS_PER_ROW)
    down = -(-len(tasks) // across)
    width, height = max(across * _PANEL_WIDTH, 5.0), down * _PANEL_HEIGHT + _FOOT
    with figure(width, height) as canvas:
        panels = canvas.subplots(down, across, squeeze=False).ravel()
        for axes, task in zip(panels, tasks, strict=False):
            _panel(axes, study, records, task)
        for axes in panels[len(tasks) :]:
            axes.set_axis_off()
        searched = [method for method in study.methods if method in SEARCHED]
        others = len(searched) < len(study.methods)
        canvas.legend(
            [Line2D([], [], color=SEARCHED[m], linestyle=SEARCHED_DASHES[m]) for m in searched]
            + [Line2D([], [], color=OTHERS, linewidth=0.7)] * others,
            [METHOD_ROWS[method] for method in searched] + ["other methods"] * others,
            loc="lower center",
            ncols=3,
            bbox_to_anchor=(0.5, 0.17 / height),
        )
        seeds = f"mean of {len(study.seeds)} seeds; band: ± one standard deviation over them"
        canvas.text(
            0.01,
            0.06 / height,
            f"Study {study.study}: {seeds if len(study.seeds) > 1 else 'one seed'}. The paper's "
            "curve rises, so it is of a score; this is the training loss.",
            fontsize=7,
            va="bottom",
        )
        canvas.tight_layout(rect=(0, _FOOT / height, 1, 1))
        save_figure(canvas, path)


def _panel(axes: Axes, study: Study, records: Aggregate, task: str) -> None:
    losses = records.losses[
        (records.losses["task"] == task) & records.losses["seed"].isin(study.seeds)
    ]
    axes.set_title(get_benchmark(task).title)
    axes.set_xlabel("epoch")
    axes.set_ylabel("training loss")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    if losses.empty:
        axes.text(0.5, 0.5, "no run", transform=axes.transAxes, ha="center", color="0.4")
    # What matters comes last, and so on top.
    for method in sorted(study.methods, key=lambda name: name in SEARCHED):
        mine = losses[losses["variant"] == method]
        if not mine.empty:
            _line(axes, mine, method)
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


def _line(axes: Axes, losses: pd.DataFrame, method: str) -> None:
    by_epoch = losses.groupby("epoch")["loss"]
    mean = by_epoch.mean()
    if method not in SEARCHED:
        axes.plot(mean.index, mean, color=OTHERS, linewidth=0.7)
        return
    spread = by_epoch.std().fillna(0.0)
    axes.plot(mean.index, mean, color=SEARCHED[method], linestyle=SEARCHED_DASHES[method])
    # Where two bands lie on each other, their edges tell them apart.
    axes.fill_between(
        mean.index,
        mean - spread,
        mean + spread,
        facecolor=to_rgba(SEARCHED[method], 0.2),
        edgecolor=to_rgba(SEARCHED[method], 0.7),
        linestyle=SEARCHED_DASHES[method],
        linewidth=0.5,
    )


def _start_epochs(study: Study, records: Aggregate, task: str) -> Sequence[int]:
    """T_B of the methods that search; variants may have their own, and are not drawn."""
    runs = records.runs[(records.runs["task"] == task) & records.runs["searches"].astype(bool)]
    return sorted(
        {
            study.run(task, method, 0).training.architecture.start_epoch
            for method in set(runs["variant"]) & set(study.methods)
        }
    )
