"""Figure C2: the share of each candidate operation, per task, and per block and projection."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from naslora.data.benchmarks.contract import get_benchmark
from naslora.paper.published import METHOD_ROWS
from naslora.report.figures.style import SEARCHED, figure, save_figure, say
from naslora.results.aggregate import Aggregate
from naslora.results.shares import LABELS, Shares, read_shares
from naslora.study.settings import Study

_PANEL_WIDTH, _PANEL_HEIGHT, _FOOT = 2.4, 2.3, 0.5
_ACROSS = 3


def draw_shares(study: Study, records: Aggregate, path: Path) -> None:
    """Draw the mean share of each operation over cells: a panel per task, a bar per method.

    Whiskers are one standard deviation over seeds; a dotted line is what all alike would be.

    Raises:
        RecordError: a record changed while the figure was drawn.
        DiskError: a file cannot be written.
    """
    methods = [method for method in study.methods if method in SEARCHED]
    found: dict[str, dict[str, Shares]] = {}
    for task, method in itertools.product(study.tasks, methods):
        if shares := read_shares(study, records, task, method):
            found.setdefault(task, {})[method] = shares
    tasks = list(found)
    across, down, height = _grid(tasks)
    with figure(across * _PANEL_WIDTH + 1.1, height) as canvas:
        if not tasks:
            say(canvas, "no run of NAS-LoRA or NAS-PC-LoRA is done")
        else:
            grid = canvas.subplots(down, across, sharey=True, squeeze=False).ravel()
            for axes, task in zip(grid, tasks, strict=False):
                _bars(axes, task, found[task])
            _finish(canvas, grid, tasks, height, _caption(study, tasks))
            canvas.legend(
                [Line2D([], [], color=SEARCHED[m], linewidth=5) for m in methods],
                [METHOD_ROWS[m] for m in methods],
                loc="lower right",
                ncols=len(methods),
            )
        save_figure(canvas, path)


def draw_shares_by_block(study: Study, records: Aggregate, path: Path) -> None:
    """Draw the mean share over seeds of each operation in each cell: a panel per task.

    It is of NAS-PC-LoRA, or without runs of it of NAS-LoRA. Where q, k and v have cells of their
    own, they stand side by side in each block.

    Raises:
        RecordError: a record changed while the figure was drawn.
        DiskError: a file cannot be written.
    """
    found: dict[str, tuple[str, Shares]] = {}
    for task in study.tasks:
        for method in SEARCHED:
            shares = read_shares(study, records, task, method) if method in study.methods else None
            if shares:
                found[task] = method, shares
                break
    tasks = list(found)
    across, down, height = _grid(tasks)
    with figure(across * (_PANEL_WIDTH + 0.3) + 1.3, height) as canvas:
        if not tasks:
            say(canvas, "no run of NAS-LoRA or NAS-PC-LoRA is done")
        else:
            limits = _limits([shares for _, shares in found.values()])
            grid = canvas.subplots(down, across, sharey=True, squeeze=False).ravel()
            for axes, (task, (method, shares)) in zip(grid, found.items(), strict=False):
                image = _map(axes, shares, limits)
                axes.set_title(f"{get_benchmark(task).title}, {METHOD_ROWS[method]}")
            width = canvas.get_figwidth()
            _finish(canvas, grid, tasks, height, _caption(study, tasks), 1 - 0.85 / width)
            beside = canvas.add_axes((1 - 0.78 / width, 0.25, 0.12 / width, 0.62))
            canvas.colorbar(image, cax=beside).set_label("share (%)")
        save_figure(canvas, path)


def _grid(tasks: Sequence[str]) -> tuple[int, int, float]:
    across = min(len(tasks), _ACROSS) or 2
    down = -(-len(tasks) // across) or 1
    return across, down, down * _PANEL_HEIGHT + _FOOT


def _bars(axes: Axes, task: str, found: Mapping[str, Shares]) -> None:
    axes.set_title(get_benchmark(task).title)
    axes.set_xlabel("mean share (%)")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    thick = 0.8 / len(found)
    for index, (method, shares) in enumerate(found.items()):
        by_seed = 100 * shares.values.mean(1)
        places = np.arange(len(shares.operations)) + (index - (len(found) - 1) / 2) * thick
        axes.barh(
            places,
            by_seed.mean(0),
            thick,
            color=SEARCHED[method],
            xerr=by_seed.std(0, ddof=1) if len(by_seed) > 1 else None,
            error_kw={"elinewidth": 0.8, "ecolor": "0.2"},
        )
        axes.axvline(100 / len(shares.operations), color="0.4", linestyle=":", linewidth=0.8)
        axes.set_yticks(
            range(len(shares.operations)), [LABELS.get(o, o) for o in shares.operations]
        )
    axes.set_xlim(left=0)
    axes.set_ylim(len(shares.operations) - 0.5, -0.5)


def _limits(found: Sequence[Shares]) -> tuple[float, float]:
    """A range, in percent, around the share that all operations have before the search."""
    uniform = 100 / len(found[0].operations)
    reach = max(float(np.abs(100 * shares.values.mean(0) - uniform).max()) for shares in found)
    return uniform - max(reach, 0.1), uniform + max(reach, 0.1)


def _map(axes: Axes, shares: Shares, limits: tuple[float, float]) -> Any:
    image = axes.imshow(
        100 * shares.values.mean(0).T,
        aspect="auto",
        interpolation="nearest",
        cmap="PuOr_r",  # white where a share is as before the search
        vmin=limits[0],
        vmax=limits[1],
    )
    axes.set_yticks(range(len(shares.operations)), [LABELS.get(o, o) for o in shares.operations])
    several = list(dict.fromkeys(shares.projections))
    if len(several) == 1:
        first = shares.blocks[0] + 1
        image.set_extent((first - 0.5, shares.blocks[-1] + 1.5, len(shares.operations) - 0.5, -0.5))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
        axes.set_xlabel("block, counted from 1")
    else:
        blocks = list(dict.fromkeys(shares.blocks))
        step = -(-len(blocks) // 8)
        middle = (len(several) - 1) / 2
        chosen = range(0, len(blocks), step)
        axes.set_xticks(
            [i * len(several) + middle for i in chosen], [str(blocks[i] + 1) for i in chosen]
        )
        axes.set_xlabel(f"block, counted from 1; in each: {', '.join(several)}")
    return image


def _caption(study: Study, tasks: Sequence[str]) -> str:
    missing = [task for task in study.tasks if task not in tasks]
    text = f"Study {study.study}: softmax of alpha after the last epoch, mean over cells and seeds."
    return text + (f" Not done: {', '.join(missing)}." if missing else "")


def _finish(
    canvas: Figure,
    grid: NDArray[Any],
    tasks: Sequence[str],
    height: float,
    caption: str,
    right: float = 1.0,
) -> None:
    for axes in grid[len(tasks) :]:
        axes.set_axis_off()
    canvas.text(0.01, 0.06 / height, caption, fontsize=7, va="bottom")
    canvas.tight_layout(rect=(0, 0.32 / height, right, 1))
