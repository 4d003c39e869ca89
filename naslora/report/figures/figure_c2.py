"""Figure C2: the share of each candidate operation, per task, and per block and projection."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from naslora.core.wording import joined
from naslora.data.benchmarks.contract import get_benchmark
from naslora.paper.published import NAS_METHODS
from naslora.report.figures.captions import over_seeds, setting
from naslora.report.figures.inputs import Inputs, NothingToDrawError
from naslora.report.figures.saving import save_figure
from naslora.report.figures.style import METHOD_STYLES, WIDTH, figure
from naslora.report.tables.model import run_title
from naslora.results.shares import LABELS, Shares, read_shares

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from naslora.study.settings import Study

_ACROSS, _HEIGHT, _FOOT = 3, 1.45, 0.25  # panels in a row; inches
_AXIS = "share minus uniform (points)"


def draw_shares(inputs: Inputs, path: Path) -> None:
    """Draw how far the share of each operation is from uniform: a panel per task, a bar per method.

    Shares are means over cells; bars are means over seeds with one standard deviation.

    Raises:
        NothingToDrawError: no run of NAS-LoRA or NAS-PC-LoRA is done.
        RecordError: a record changed while the figure was drawn.
        DiskError: a file cannot be written.
    """
    import seaborn as sns

    study = inputs.study
    frame = _frame(inputs)
    tasks = [task for task in study.tasks if task in set(frame["task"])]
    methods = [method for method in study.methods if method in set(frame["method"])]
    # One number per task, method, seed and operation.
    by_seed = _means(frame, "task", "method", "seed", "operation")
    operations = list(dict.fromkeys(by_seed["operation"]))
    across, down, height = _layout(tasks)
    with figure(height) as canvas:
        grid = canvas.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, task in zip(grid, tasks, strict=False):
            sns.barplot(
                by_seed[by_seed["task"] == task],
                x="deviation",
                y="operation",
                order=operations,
                hue="method",
                hue_order=methods,
                palette={method: METHOD_STYLES[method].colour for method in methods},
                saturation=1,
                errorbar="sd" if len(study.seeds) > 1 else None,
                err_kws={"linewidth": 0.7, "color": "0.2"},
                legend=False,
                ax=axes,
            )
            axes.axvline(0, color="0.2", linewidth=0.6)
            axes.set(title=get_benchmark(task).title, xlabel="", ylabel="")
            axes.tick_params(axis="y", length=0)
        _finish(grid.tolist(), tasks, across)
        _legend(canvas, inputs, methods)
        canvas.tight_layout(pad=0.3, rect=(0, _FOOT / height, 1, 1))
        caption = [
            "Share of each candidate operation (softmax of alpha after the last epoch, mean over "
            f"cells), minus the initial share of {100 / len(operations):.1f} %.",
            setting(study),
            over_seeds(study, "Error bars"),
            _missing(study, tasks),
        ]
        save_figure(canvas, path, " ".join(filter(None, caption)), by_seed)


def draw_shares_by_block(inputs: Inputs, path: Path) -> None:
    """Draw the same, mean over seeds, of each cell: a heat map per task.

    The cells are those of NAS-PC-LoRA, or of NAS-LoRA on tasks without runs of NAS-PC-LoRA. Where
    q, k and v have cells of their own, they are side by side in each block.

    Raises:
        NothingToDrawError: no run of NAS-LoRA or NAS-PC-LoRA is done.
        RecordError: a record changed while the figure was drawn.
        DiskError: a file cannot be written.
    """
    study = inputs.study
    frame = _frame(inputs)
    tasks = [task for task in study.tasks if task in set(frame["task"])]
    shown = pd.concat(
        mine[mine["method"] == max(mine["method"], key=NAS_METHODS.index)]
        for task in tasks
        if len(mine := frame[frame["task"] == task])
    )
    means = _means(shown, "task", "method", "operation", "block", "projection")
    reach = max(float(means["deviation"].abs().max()), 0.1)
    across, down, height = _layout(tasks)
    bar = 0.55  # inches for the colour bar
    with figure(height) as canvas:
        grid = canvas.subplots(down, across, sharey=True, squeeze=False).ravel()
        for axes, task in zip(grid, tasks, strict=False):
            mine = means[means["task"] == task]
            _heat_map(axes, mine, reach)
            method = run_title(inputs.records, mine["method"].iloc[0])
            axes.set_title(f"{get_benchmark(task).title}, {method}")
        for axes in grid[len(tasks) :]:
            axes.set_axis_off()
        canvas.tight_layout(pad=0.3, rect=(0, 0, 1 - bar / WIDTH, 1))
        beside = canvas.add_axes((1 - (bar - 0.08) / WIDTH, 0.25, 0.09 / WIDTH, 0.6))
        canvas.colorbar(grid[0].collections[0], cax=beside).set_label(_AXIS)
        several = shown["projection"].nunique() > 1
        caption = [
            "Share of each candidate operation in each cell (softmax of alpha after the last "
            "epoch, mean over seeds), minus the initial share.",
            setting(study),
            f"Blocks are counted from 1{'; in each q, k and v from left to right' * several}.",
            _missing(study, tasks),
        ]
        save_figure(canvas, path, " ".join(filter(None, caption)), means)


def _frame(inputs: Inputs) -> pd.DataFrame:
    """One row per task, method, seed, cell and operation: its share minus uniform, in points."""
    study = inputs.study
    parts = []
    for task, method in itertools.product(study.tasks, NAS_METHODS):
        if method in study.methods:
            shares = read_shares(study, inputs.records, task, method)
            if shares is not None:
                parts.append(_tidy(shares, task, method))
    if not parts:
        raise NothingToDrawError("no run of NAS-LoRA or NAS-PC-LoRA is done")
    return pd.concat(parts, ignore_index=True)


def _means(frame: pd.DataFrame, *by: str) -> pd.DataFrame:
    """The mean deviation of each group, in the order of their first appearance."""
    return frame.groupby([*by], sort=False)["deviation"].mean().reset_index()


def _tidy(shares: Shares, task: str, method: str) -> pd.DataFrame:
    uniform = 100 / len(shares.operations)
    lines = [
        (task, method, seed, LABELS.get(operation, operation), block + 1, projection, share)
        for seed, cells in zip(shares.seeds, 100 * shares.values - uniform, strict=True)
        for block, projection, cell in zip(shares.blocks, shares.projections, cells, strict=True)
        for operation, share in zip(shares.operations, cell.tolist(), strict=True)
    ]
    columns = ["task", "method", "seed", "operation", "block", "projection", "deviation"]
    return pd.DataFrame(lines, columns=columns)


def _layout(tasks: Sequence[str]) -> tuple[int, int, float]:
    across = min(max(len(tasks), 2), _ACROSS)
    down = -(-len(tasks) // across)
    return across, down, down * _HEIGHT + _FOOT


def _heat_map(axes: Axes, means: pd.DataFrame, reach: float) -> None:
    import seaborn as sns

    several = means["projection"].nunique() > 1
    cells = means.pivot_table(
        index="operation", columns=["block", "projection"], values="deviation", sort=False
    )
    names = [str(block) for block in cells.columns.get_level_values("block")]
    wide = cells.set_axis(range(len(names)), axis=1)
    sns.heatmap(
        wide,
        cmap="PuOr_r",  # white where a share is as before the search
        vmin=-reach,
        vmax=reach,
        cbar=False,
        xticklabels=False,
        ax=axes,
    )
    each = means["projection"].nunique()
    step = each * -(-len(names) // (each * 8))
    places = range(0, len(names), step)
    axes.set_xticks([place + each / 2 for place in places], [names[place] for place in places])
    axes.tick_params(length=0)
    axes.tick_params(axis="y", labelrotation=0)
    axes.set(ylabel="", xlabel="block: q, k, v" if several else "block")


def _finish(grid: Sequence[Axes], tasks: Sequence[str], across: int) -> None:
    for axes in grid[len(tasks) :]:
        axes.set_axis_off()
    for axes in grid[max(0, len(tasks) - across) : len(tasks)]:
        axes.set_xlabel(_AXIS, visible=True)  # seaborn hides it where it found no labels of ticks
        axes.tick_params(labelbottom=True)


def _legend(canvas: Figure, inputs: Inputs, methods: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    canvas.legend(
        [Patch(color=METHOD_STYLES[method].colour) for method in methods],
        [run_title(inputs.records, method) for method in methods],
        loc="lower center",
        ncols=len(methods),
    )


def _missing(study: Study, tasks: Sequence[str]) -> str:
    missing = [get_benchmark(task).title for task in study.tasks if task not in tasks]
    return f"No run is done: {joined(missing)}." if missing else ""
