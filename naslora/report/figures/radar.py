"""Figure 1b as the paper draws it: a radar chart with a spoke per data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from naslora.evaluation.names import metric_name
from naslora.paper.published import NOT_PEFT
from naslora.report.figures.captions import setting
from naslora.report.figures.inputs import Inputs, NothingToDrawError
from naslora.report.figures.saving import save_figure
from naslora.report.figures.scores import FEWEST_SPOKES, DataSet, data_sets, score_frame
from naslora.report.figures.style import (
    HIGHLIGHTED,
    SMALL,
    figure,
    in_drawing_order,
    legend_columns,
    study_styles,
)
from naslora.report.tables.model import run_title

if TYPE_CHECKING:
    from naslora.study.settings import Study

_HEIGHT = 3.3
_LEFT_OUT = {*NOT_PEFT, "decoder_only"}
_INNER = 0.2  # radius of the lowest score


def draw_radar(inputs: Inputs, path: Path) -> None:
    """Draw a line per method through its mean score on each data set: ours, and the paper's.

    Each spoke has its own scale, from the lowest score of the methods that are drawn to the
    highest; both are written beside it. Models without an adapter are left out: they would stretch
    the scales so far that the adapters coincide.

    Raises:
        NothingToDrawError: too few data sets have scores.
        DiskError: a file cannot be written.
    """
    study = inputs.study
    methods = [method for method in study.methods if method not in _LEFT_OUT]
    frame = score_frame(study, inputs.records)
    frame = frame[frame["method"].isin(methods) & frame["source"].isin(["study", "paper"])]
    panels = {"study": f"Study {study.study}", "paper": "Paper, Tables 1 to 3"}
    spokes = {
        source: [one for one in data_sets(study) if _has_scores(frame, source, one)]
        for source in panels
    }
    panels = {
        source: title for source, title in panels.items() if len(spokes[source]) >= FEWEST_SPOKES
    }
    if not panels:
        raise NothingToDrawError(f"fewer than {FEWEST_SPOKES} data sets have scores")
    with figure(_HEIGHT) as canvas:
        grid = canvas.subplots(1, 2, subplot_kw={"projection": "polar"})
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
        for axes, (source, title) in zip(grid, panels.items(), strict=False):
            mine = frame[frame["source"] == source]
            _chart(axes, mine, spokes[source], study, title)
        handles = [_handle(study, method) for method in methods]
        labels = [run_title(inputs.records, method) for method in methods]
        canvas.legend(handles, labels, loc="lower center", ncols=legend_columns(len(methods)))
        canvas.subplots_adjust(left=0.13, right=0.87, top=0.79, bottom=0.25, wspace=0.95)
        caption = (
            f"Mean scores over seeds, in percent. {setting(study)} Each spoke has its own scale, "
            "from the lowest score of the methods (inner circle) to the highest (outer circle), "
            "which are written beside it; a small difference may look large."
        )
        save_figure(canvas, path, caption, frame)


def _has_scores(frame: pd.DataFrame, source: str, one: DataSet) -> bool:
    return bool(((frame["source"] == source) & (frame["data_set"] == one.title)).any())


def _handle(study: Study, method: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], **_line(study, method))


def _line(study: Study, method: str) -> dict[str, Any]:
    style = study_styles(study)[method]
    return {
        "color": style.colour,
        "marker": style.marker,
        "markersize": 3,
        "markerfacecolor": "none",
        "markeredgewidth": 0.7,
        "linestyle": (0, style.dash) if style.dash else "-",
        "linewidth": 1.2 if method in HIGHLIGHTED else 0.6,
    }


def _chart(
    axes: Any, frame: pd.DataFrame, spokes: Sequence[DataSet], study: Study, title: str
) -> None:
    means = frame.groupby(["data_set", "method"])["value"].mean().unstack("method")
    means = means.loc[[one.title for one in spokes]]
    signs = np.array([metric_name(one.metric).sign for one in spokes])
    low, high = means.min(axis=1), means.max(axis=1)
    worst, best = low.where(signs > 0, high), high.where(signs > 0, low)
    radii = means.sub(worst, axis=0).div((best - worst).replace(0, np.nan), axis=0).fillna(1.0)
    radii = (_INNER + (1 - _INNER) * radii).where(means.notna())
    angles = np.linspace(0, 2 * np.pi, len(spokes), endpoint=False)
    for method in in_drawing_order(study.methods):
        if method in radii:
            closed = [*radii[method], radii[method].iloc[0]]
            axes.plot([*angles, angles[0]], closed, clip_on=False, **_line(study, method))
    axes.set_theta_offset(np.pi / 2)
    axes.set_theta_direction(-1)
    axes.set(ylim=(0, 1), yticks=[_INNER, 1], yticklabels=[], xticks=angles, xticklabels=[])
    axes.spines["polar"].set_visible(False)
    axes.grid(color="0.85", linewidth=0.5)
    for angle, one, least, most in zip(angles, spokes, worst, best, strict=True):
        side, up = np.sin(angle), np.cos(angle)
        axes.text(
            angle,
            1.08 if abs(up) > 0.9 else 1.14,
            f"{one.title}\n{metric_name(one.metric).title}\n{least:.1f} to {most:.1f}",
            ha="center" if abs(side) < 0.2 else "left" if side > 0 else "right",
            va="bottom" if up > 0.9 else "top" if up < -0.9 else "center",
            fontsize=SMALL,
        )
    axes.set_title(title, pad=32)
