"""The ranking: differences to LoRA on every test set, and mean ranks over tasks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from naslora.core.wording import counted, joined, signed
from naslora.evaluation.names import metric_name
from naslora.paper.published import NOT_PEFT
from naslora.report.figures.captions import setting, test_set_title
from naslora.report.figures.inputs import Inputs, NothingToDrawError
from naslora.report.figures.saving import save_figure
from naslora.report.figures.style import NORMAL, SMALL, figure, method_styles
from naslora.report.tables.model import row_title, run_title
from naslora.report.tables.standing import SCRATCH
from naslora.results.ranking import (
    FEWEST_TASKS,
    REFERENCE,
    Ranking,
    differences,
    main_comparisons,
    rank,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ACROSS, _LINE, _EXTRA, _LABELS = 6, 0.115, 0.46, 0.72  # most panels in a row; inches
_DIAGRAM_LINE, _DIAGRAM_EXTRA = 0.16, 0.8
_NO_BREAK = "\N{NO-BREAK SPACE}"
_GREY, _BAND = "0.4", "0.955"


def draw_ranking(inputs: Inputs, path: Path) -> None:
    """Draw each method's paired difference to LoRA with intervals, and mean ranks over tasks.

    A panel per test set, of the task's main metric. Thick bars are 95 % intervals over seeds, thin
    ones over test images; a point is filled where both exclude zero. Grey rows are models that are
    trained from scratch; they have a number in place of intervals, and an arrow where they are
    beyond the scale, which is that of the other methods. Below, the critical difference diagram of
    Demsar (2006): methods that a bar joins do not differ significantly over the tasks.

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
    compared = [*study.methods, *study.general_variants()]
    methods = [method for method in compared if method in shown]
    scratch = _from_scratch(inputs)
    rows = [*methods, *dict.fromkeys(scratch["method"])]
    sets = list(dict.fromkeys(zip(frame["task"], frame["test_set"], strict=True)))
    across = max(-(-len(sets) // -(-len(sets) // _ACROSS)), 3)  # rows of equal length
    down = -(-len(sets) // across)
    ranked = len(ranking.mean_ranks) if ranking.nemenyi is not None else 0
    diagram = _DIAGRAM_LINE * -(-ranked // 2) + _DIAGRAM_EXTRA if ranked else 0.0
    panels = down * (_LINE * len(rows) + _EXTRA)
    height = panels + diagram
    with figure(height) as canvas:
        grid = canvas.subplots(down, across, sharey=True, squeeze=False).ravel()
        for axes, (task, test_set) in zip(grid, sets, strict=False):
            mine = frame[(frame["task"] == task) & (frame["test_set"] == test_set)]
            _differences(axes, mine.set_index("method"), methods, compared)
            also = scratch[(scratch["task"] == task) & (scratch["test_set"] == test_set)]
            for name, difference in zip(also["method"], also["difference"], strict=True):
                _grey_row(axes, float(difference), rows.index(name))
            metric = metric_name(str(mine["metric"].iloc[0])).title
            axes.set_title(f"{test_set_title(task, test_set)}\n{metric}", fontsize=NORMAL)
        for axes in grid[len(sets) :]:
            axes.set_axis_off()
        grid[0].set_yticks(
            range(len(rows)), [row_title(study, inputs.records, row) for row in rows]
        )
        for label in grid[0].get_yticklabels()[len(methods) :]:
            label.set_color(_GREY)
        grid[0].set_ylim(len(rows) - 0.4, -0.6)
        canvas.tight_layout(pad=0.3, w_pad=0.4, h_pad=0.6, rect=(0, diagram / height, 1, 1))
        if ranked:
            axes = canvas.add_axes((0.16, 0.02, 0.68, (diagram - 0.42) / height))
            _diagram(axes, inputs, ranking)
        networks = scratch[~scratch["method"].isin(frame["method"])]
        numbers = pd.concat([frame, networks], ignore_index=True) if len(networks) else frame
        save_figure(canvas, path, _caption(inputs, ranking, scratch), numbers)


def _from_scratch(inputs: Inputs) -> pd.DataFrame:
    """The differences to LoRA of the networks, and of SAM from scratch."""
    study = inputs.study
    names = [*study.networks, *(name for name in study.methods if name == SCRATCH)]
    return differences(main_comparisons(study, inputs.records), names)


def _grey_row(axes: Axes, difference: float, place: int) -> None:
    """Draw a difference as a grey point and a number, without changing the axis's limits."""
    low, high = axes.get_xlim()
    beyond = not low <= difference <= high
    edge = 0.04 * (high - low)
    x = min(max(difference, low + edge), high - edge)
    axes.axhspan(place - 0.5, place + 0.5, color=_BAND, linewidth=0, zorder=0)
    marker = ("<" if difference < low else ">") if beyond else "X"
    axes.plot(x, place, marker=marker, color=_GREY, markersize=3.6, markeredgewidth=0)
    left = x > (low + high) / 2  # the number stands on the side with more room
    axes.annotate(
        signed(difference),
        (x, place),
        xytext=(-4 if left else 4, 0),
        textcoords="offset points",
        horizontalalignment="right" if left else "left",
        verticalalignment="center_baseline",
        fontsize=SMALL,
        color=_GREY,
        bbox={"facecolor": _BAND, "edgecolor": "none", "pad": 0.2},
    )
    axes.set_xlim(low, high)


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


def _caption(inputs: Inputs, ranking: Ranking, scratch: pd.DataFrame) -> str:
    study = inputs.study
    seeds = "thick bars over seeds, " if len(study.seeds) > 1 else "one seed, so none over seeds; "
    sentences = [
        f"Difference to {run_title(inputs.records, REFERENCE)} on every test set, in points; right "
        "of zero is better.",
        setting(study),
        f"95 % intervals: {seeds}thin bars over test images. Filled: both exclude zero.",
    ]
    if len(scratch):
        names = [run_title(inputs.records, name) for name in dict.fromkeys(scratch["method"])]
        sentences.append(
            f"Grey: {joined(names)}, trained without pretraining; their differences as numbers,"
            " arrows where these are beyond the scale. They are not ranked."
        )
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
        sentences.append(f"Not ranked, as a task is missing: {joined(names)}.")
    return " ".join(sentences)
