"""The ranking: differences to LoRA on every test set, and mean ranks over tasks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from naslora.evaluation.names import metric_name
from naslora.paper.published import NOT_PEFT
from naslora.report.figures.captions import counted, listed, setting, test_set_title
from naslora.report.figures.inputs import Inputs, NothingToDrawError
from naslora.report.figures.saving import save_figure
from naslora.report.figures.style import NORMAL, SMALL, figure, method_styles
from naslora.report.tables.model import run_title
from naslora.results.ranking import FEWEST_TASKS, REFERENCE, Ranking, rank

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ACROSS, _LINE, _EXTRA, _LABELS = 6, 0.115, 0.46, 0.72  # panels in a row; inches
_DIAGRAM_LINE, _DIAGRAM_EXTRA = 0.16, 0.8
_NO_BREAK = "\N{NO-BREAK SPACE}"


def draw_ranking(inputs: Inputs, path: Path) -> None:
    """Draw each method's paired difference to LoRA with intervals, and mean ranks over tasks.

    A panel per test set, of the task's main metric. Thick bars are 95 % intervals over seeds, thin
    ones over test images; a point is filled where both exclude zero. Below, the diagram of
    critical differences of Demsar (2006): methods that a bar joins do not differ significantly over
    the tasks.

    Raises:
        NothingToDrawError: no test set has a run of LoRA and one of another method.
        RecordError: per-image metrics cannot be read.
        DiskError: a file cannot be written.
    """
    study = inputs.study
    ranking = rank(study, inputs.records)
    frame = ranking.differences
    if frame.empty:
        raise NothingToDrawError("no test set has a run of LoRA and one of another method")
    shown = set(frame["method"]) - NOT_PEFT
    methods = [method for method in study.methods if method in shown]
    sets = list(dict.fromkeys(zip(frame["task"], frame["test_set"], strict=True)))
    across = min(max(len(sets), 3), _ACROSS)
    down = -(-len(sets) // across)
    ranked = len(ranking.mean_ranks) if ranking.nemenyi is not None else 0
    diagram = _DIAGRAM_LINE * -(-ranked // 2) + _DIAGRAM_EXTRA if ranked else 0.0
    panels = down * (_LINE * len(methods) + _EXTRA)
    height = panels + diagram
    with figure(height) as canvas:
        grid = canvas.subplots(down, across, sharey=True, squeeze=False).ravel()
        for axes, (task, test_set) in zip(grid, sets, strict=False):
            mine = frame[(frame["task"] == task) & (frame["test_set"] == test_set)]
            _differences(axes, mine.set_index("method"), methods, study.methods)
            metric = metric_name(str(mine["metric"].iloc[0])).title
            axes.set_title(f"{test_set_title(task, test_set)}\n{metric}", fontsize=NORMAL)
        for axes in grid[len(sets) :]:
            axes.set_axis_off()
        grid[0].set_yticks(
            range(len(methods)), [run_title(inputs.records, method) for method in methods]
        )
        grid[0].set_ylim(len(methods) - 0.4, -0.6)
        canvas.tight_layout(pad=0.3, w_pad=0.4, h_pad=0.6, rect=(0, diagram / height, 1, 1))
        if ranked:
            axes = canvas.add_axes((0.16, 0.02, 0.68, (diagram - 0.42) / height))
            _diagram(axes, inputs, ranking)
        save_figure(canvas, path, _caption(inputs, ranking), frame)


def _differences(
    axes: Axes, mine: pd.DataFrame, methods: Sequence[str], all_methods: Sequence[str]
) -> None:
    from matplotlib.ticker import MaxNLocator

    styles = method_styles(all_methods)
    axes.axvline(0, color="0.3", linewidth=0.6)
    for place, method in enumerate(methods):
        if method not in mine.index:
            continue
        line, style = mine.loc[method], styles[method]
        for low, high, width in (
            (line["images_low"], line["images_high"], 0.7),
            (line["seeds_low"], line["seeds_high"], 1.6),
        ):
            if np.isfinite(low):
                axes.plot(
                    [low, high],
                    [place, place],
                    color=style.colour,
                    linewidth=width,
                    solid_capstyle="butt",
                )
        axes.plot(
            line["difference"],
            place,
            marker=style.marker,
            color=style.colour,
            markerfacecolor=style.colour if line["significant"] else "white",
            markeredgecolor="white" if line["significant"] else style.colour,
            markersize=4.2,
            markeredgewidth=0.6,
        )
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    narrow = max(map(abs, axes.get_xlim())) < 0.5  # its labels have more digits
    axes.xaxis.set_major_locator(MaxNLocator(nbins=2 if narrow else 4))


def _diagram(axes: Axes, inputs: Inputs, ranking: Ranking) -> None:
    from scikit_posthocs import critical_difference_diagram

    styles = method_styles(inputs.study.methods)
    titles = {method: run_title(inputs.records, method) for method in ranking.mean_ranks.index}
    assert ranking.nemenyi is not None
    critical_difference_diagram(
        ranking.mean_ranks.rename(titles),
        ranking.nemenyi.rename(index=titles, columns=titles),
        ax=axes,
        label_fmt_left="{label} ({rank:.1f})" + _NO_BREAK,
        label_fmt_right=_NO_BREAK + "({rank:.1f}) {label}",
        label_props={"fontsize": SMALL},
        elbow_props={"linewidth": 0.8},
        crossbar_props={"color": "0.35", "linewidth": 1.6, "snap": False},
        marker_props={"s": 12, "linewidth": 0},
        color_palette={titles[method]: styles[method].colour for method in titles},
    )
    axes.tick_params(labelsize=SMALL, pad=1)
    critical = f"critical difference {ranking.critical_difference:.1f}"
    axes.set_title(f"mean rank over {counted(len(ranking.scores), 'task')} ({critical})", pad=4)


def _caption(inputs: Inputs, ranking: Ranking) -> str:
    study = inputs.study
    seeds = "thick bars over seeds, " if len(study.seeds) > 1 else "one seed, so none over seeds; "
    sentences = [
        f"Difference to {run_title(inputs.records, REFERENCE)} on every test set, in points; right "
        "of zero is better. Models trained from scratch are in the file of numbers alone.",
        setting(study),
        f"95 % intervals: {seeds}thin bars over test images. Filled: both exclude zero.",
    ]
    if ranking.critical_difference is None:
        sentences.append(f"Mean ranks need {FEWEST_TASKS} tasks.")
    else:
        found = "finds a" if ranking.different else "finds no"
        sentences.append(
            f"Below, mean ranks over {counted(len(ranking.scores), 'task')}; bars join methods "
            "that do not differ significantly by Nemenyi's test (critical difference "
            f"{ranking.critical_difference:.1f}). Friedman's test {found} difference between "
            "methods."
        )
    if ranking.left_out:
        names = [run_title(inputs.records, method) for method in ranking.left_out]
        sentences.append(f"Not ranked, as a task is missing: {listed(names)}.")
    return " ".join(sentences)
