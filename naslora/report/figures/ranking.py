"""The ranking: differences to LoRA on every test set, and mean ranks over tasks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from naslora.core.wording import counted, joined
from naslora.evaluation.names import metric_name
from naslora.paper.published import NOT_PEFT
from naslora.report.figures.captions import (
    all_rows,
    printed,
    row_label,
    rows_on,
    setting,
    test_set_title,
)
from naslora.report.figures.inputs import Inputs, NothingToDrawError
from naslora.report.figures.saving import save_figure
from naslora.report.figures.style import (
    NORMAL,
    SMALL,
    MethodStyle,
    figure,
    panel_rows,
    study_styles,
)
from naslora.report.tables.model import run_title
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

    from naslora.study.settings import Study

_FEWEST, _ACROSS = 3, 6  # panels in a row
_LINE, _EXTRA = 0.115, 0.46  # inches
_DIAGRAM_LINE, _DIAGRAM_EXTRA = 0.16, 0.8
_NO_BREAK = "\N{NO-BREAK SPACE}"
_LARGER = {"*": 1.7, "X": 1.3, "P": 1.3}  # markers whose arms are thin
_GREY, _BAND = "0.4", "0.955"


def draw_ranking(inputs: Inputs, path: Path) -> None:
    """Draw each method's paired difference to LoRA with intervals, and mean ranks over tasks.

    A panel per test set, of the task's main metric. Thick bars are 95 % intervals over seeds, thin
    ones over test images; a point is filled where both exclude zero. Rows on grey are models that
    are trained as a whole, and are not ranked. The scale is that of pretrained models; others that
    are beyond it are arrows with a number. Below, the critical difference diagram of Demsar (2006):
    methods that a bar joins do not differ significantly over the tasks.

    Raises:
        NothingToDrawError: no test set has a run of LoRA and one of another method.
        RecordError: per-image metrics cannot be read.
        DiskError: a file cannot be written.
    """
    study = inputs.study
    ranking = rank(study, inputs.records)
    if ranking.differences.empty:
        raise NothingToDrawError("no test set has a run of LoRA and one of another method")
    networks = differences(main_comparisons(study, inputs.records), study.networks)
    parts = [ranking.differences, *([networks] if len(networks) else [])]
    frame = pd.concat(parts, ignore_index=True)
    rows = _rows(study, set(frame["method"]))
    sets = list(dict.fromkeys(zip(frame["task"], frame["test_set"], strict=True)))
    across = max(-(-len(sets) // -(-len(sets) // _ACROSS)), _FEWEST)  # rows of equal length
    lines = [sets[start : start + across] for start in range(0, len(sets), across)]
    # A network that runs on one task has no place in panels of others.
    shown = [rows_on(study, rows, [task for task, _ in line]) for line in lines]
    counts = [len(names) for names in shown]
    ranked = len(ranking.mean_ranks) if ranking.nemenyi is not None else 0
    diagram = _DIAGRAM_LINE * -(-ranked // 2) + _DIAGRAM_EXTRA if ranked else 0.0
    height = _LINE * sum(counts) + _EXTRA * len(lines) + diagram
    with figure(height) as canvas:
        grid = panel_rows(canvas, counts, across)
        for panels, line, names in zip(grid, lines, shown, strict=True):
            for axes, (task, test_set) in zip(panels, line, strict=False):
                mine = frame[(frame["task"] == task) & (frame["test_set"] == test_set)]
                _differences(axes, mine.set_index("method"), names, study)
                metric = metric_name(str(mine["metric"].iloc[0])).title
                axes.set_title(f"{test_set_title(task, test_set)}\n{metric}", fontsize=NORMAL)
            for axes in panels[len(line) :]:
                axes.set_axis_off()
            _label_rows(panels[0], inputs, names)
        canvas.tight_layout(pad=0.3, w_pad=0.4, h_pad=0.6, rect=(0, diagram / height, 1, 1))
        if ranked:
            axes = canvas.add_axes((0.16, 0.02, 0.68, (diagram - 0.42) / height))
            _diagram(axes, inputs, ranking)
        save_figure(canvas, path, _caption(inputs, ranking, rows), frame)


def _rows(study: Study, compared: set[str]) -> list[str]:
    """The rows of the panels: those that are ranked, variants, then those that are not ranked."""
    ranked = [name for name in study.methods if name not in NOT_PEFT]
    whole = [name for name in all_rows(study) if _whole(study, name)]
    whole.sort(key=lambda name: name == SCRATCH or name not in study.methods)
    rows = [*ranked, *study.general_variants(), *whole]
    return [name for name in rows if name in compared]


def _whole(study: Study, name: str) -> bool:
    """Whether a row is a model that is trained as a whole, and so is not ranked."""
    return name in NOT_PEFT or name in study.networks


def _label_rows(axes: Axes, inputs: Inputs, names: Sequence[str]) -> None:
    study = inputs.study
    labels = [row_label(study, inputs.records, name) for name in names]
    axes.set_yticks(range(len(names)), labels)
    for name, label in zip(names, axes.get_yticklabels(), strict=True):
        if _whole(study, name):
            label.set_color(_GREY)
    axes.set_ylim(len(names) - 0.4, -0.6)


def _differences(axes: Axes, mine: pd.DataFrame, names: Sequence[str], study: Study) -> None:
    from matplotlib.ticker import MaxNLocator

    styles = study_styles(study)
    axes.axvline(0, color="0.3", linewidth=0.6)
    found = {str(name): line for name, line in mine.iterrows()}
    present = {name: place for place, name in enumerate(names) if name in found}
    for name, place in present.items():
        axes.axhline(place, color="0.9", linewidth=0.5, zorder=0.5)
        if _whole(study, name):
            axes.axhspan(place - 0.5, place + 0.5, color=_BAND, linewidth=0, zorder=0)
    # Of models that start from nothing, some differ by many times as much as all others.
    pretrained = [name for name in present if name != SCRATCH and name not in study.networks]
    for name in pretrained:
        _row(axes, found[name], present[name], styles[name])
    low, high = axes.get_xlim()
    for name in (name for name in present if name not in pretrained):
        if low <= found[name]["difference"] <= high:
            _row(axes, found[name], present[name], styles[name])
        else:
            _arrow(axes, found[name], present[name], styles[name], (low, high))
    axes.set_xlim(low, high)
    axes.tick_params(axis="y", length=0)
    narrow = max(abs(low), abs(high)) < 0.5  # its labels have more digits
    axes.xaxis.set_major_locator(MaxNLocator(nbins=2 if narrow else 4))


def _row(axes: Axes, line: pd.Series[Any], place: int, style: MethodStyle) -> None:
    """Draw a difference with both intervals."""
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
    filled = bool(line["significant"])
    axes.plot(
        line["difference"],
        place,
        marker=style.marker,
        color=style.colour,
        markerfacecolor=style.colour if filled else "white",
        markeredgecolor="white" if filled else style.colour,
        markersize=4.2 * _LARGER.get(style.marker, 1),
        markeredgewidth=0.6,
    )


def _arrow(
    axes: Axes,
    line: pd.Series[Any],
    place: int,
    style: MethodStyle,
    limits: tuple[float, float],
) -> None:
    """Draw a difference beyond the limits of an axis as an arrow at its end, and a number."""
    low, high = limits
    left = line["difference"] < low
    edge = 0.04 * (high - low)
    x = low + edge if left else high - edge
    axes.plot(
        x,
        place,
        marker="<" if left else ">",
        color=style.colour,
        markerfacecolor=style.colour if line["significant"] else "white",
        markersize=3.6,
        markeredgewidth=0.6,
    )
    axes.annotate(
        printed(line["difference"]),
        (x, place),
        xytext=(4 if left else -4, 0),
        textcoords="offset points",
        horizontalalignment="left" if left else "right",
        verticalalignment="center_baseline",
        fontsize=SMALL,
        color=_GREY,
        bbox={"facecolor": _BAND, "edgecolor": "none", "pad": 0.2},
    )


def _diagram(axes: Axes, inputs: Inputs, ranking: Ranking) -> None:
    from scikit_posthocs import critical_difference_diagram

    styles = study_styles(inputs.study)
    titles = {method: run_title(inputs.records, method) for method in ranking.mean_ranks.index}
    assert ranking.nemenyi is not None
    drawn = critical_difference_diagram(
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
    # It draws a bar through its methods in the order of a set, which differs from run to run.
    for bar in drawn["crossbars"]:
        for line in bar:
            x, y = line.get_data()
            line.set_data([min(x), max(x)], [y[0], y[0]])
    axes.tick_params(labelsize=SMALL, pad=1)
    critical = f"critical difference {ranking.critical_difference:.1f}"
    axes.set_title(f"mean rank over {counted(len(ranking.scores), 'task')} ({critical})", pad=4)


def _caption(inputs: Inputs, ranking: Ranking, rows: Sequence[str]) -> str:
    study = inputs.study
    seeds = "thick bars over seeds, " if len(study.seeds) > 1 else "one seed, so none over seeds; "
    sentences = [
        f"Difference to {run_title(inputs.records, REFERENCE)} on every test set, in points; right "
        "of zero is better.",
        setting(study),
        f"95 % intervals: {seeds}thin bars over test images. Filled: both exclude zero.",
    ]
    whole = [run_title(inputs.records, name) for name in rows if _whole(study, name)]
    if whole:
        sentences.append(f"On grey: {joined(whole)}, trained as a whole and not ranked.")
    if any(name == SCRATCH or name in study.networks for name in rows):
        sentences.append(
            "The scale leaves out those without pretraining: bars end at its ends, and arrows with "
            "a number are beyond it."
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
