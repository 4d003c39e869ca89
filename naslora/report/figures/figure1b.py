"""Figure 1b: every method on every data set, ours and the paper's, as points with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from naslora.core.wording import joined
from naslora.evaluation.names import metric_name
from naslora.report.figures.captions import all_rows, over_seeds, row_label, rows_on, setting
from naslora.report.figures.inputs import Inputs, NothingToDrawError
from naslora.report.figures.saving import save_figure
from naslora.report.figures.scores import DataSet, comparable, data_sets, score_frame
from naslora.report.figures.style import figure, panel_rows, study_styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from naslora.study.settings import Study

_ACROSS, _LINE, _EXTRA, _FOOT = 5, 0.125, 0.52, 0.22  # panels in a row; inches


def draw_scores(inputs: Inputs, path: Path) -> None:
    """Draw a panel per data set with a line per method: mean over seeds and standard deviation.

    Where the study's setting is the paper's, the paper's numbers are diamonds in the same panels.
    Otherwise the two are too far apart to share an axis, and the paper's numbers have a picture of
    their own, see `draw_printed_scores`. A vertical line is the best of the controls.

    Raises:
        NothingToDrawError: no run of the study is done.
        DiskError: a file cannot be written.
    """
    study = inputs.study
    frame = score_frame(study, inputs.records)
    ours = frame[frame["source"] == "study"]
    if ours.empty:
        raise NothingToDrawError("no run is done, so there are no scores")
    together = comparable(study)
    shown = frame if together else frame[frame["source"] != "paper"]
    caption = [
        "Scores of every method on every data set, in percent.",
        setting(study),
        over_seeds(study, "Error bars"),
        _direction(data_sets(study)),
        "Dotted lines: the best prediction that does not use the image.",
        "Hollow diamonds: printed in the paper."
        if together
        else "The paper's numbers are from another setting, and shown in a separate figure.",
    ]
    _draw(inputs, shown, data_sets(study), path, " ".join(filter(None, caption)))


def _direction(shown: Sequence[DataSet]) -> str:
    """A sentence on the reversed axes of errors; empty without any."""
    names = [metric_name(one.metric) for one in shown]
    reversed_ = list(dict.fromkeys(name.title for name in names if not name.higher_is_better))
    if not reversed_:
        return ""
    return f"Right is better in every panel: the axis of {joined(reversed_)} is reversed."


def draw_printed_scores(inputs: Inputs, path: Path) -> None:
    """Draw the paper's numbers in the same way.

    Raises:
        NothingToDrawError: the study has none of the paper's data sets.
        DiskError: a file cannot be written.
    """
    frame = score_frame(inputs.study, inputs.records)
    frame = frame[frame["source"] == "paper"]
    if frame.empty:
        raise NothingToDrawError("the study has none of the paper's data sets or methods")
    shown = [one for one in data_sets(inputs.study) if one.title in set(frame["data_set"])]
    caption = (
        "Scores that the paper prints (Tables 1 to 3: SAM ViT-H at 1024 px), in percent. "
        "Its mIoU of Trans10K-v2 is with background in some rows and without in others. "
        f"{_direction(shown)}"
    ).strip()
    _draw(inputs, frame, shown, path, caption)


def _draw(
    inputs: Inputs, frame: pd.DataFrame, shown: Sequence[DataSet], path: Path, caption: str
) -> None:
    study = inputs.study
    rows = [row for row in all_rows(study) if row in set(frame["method"])]
    across = -(-len(shown) // -(-len(shown) // _ACROSS))  # rows of equal length
    lines = [shown[start : start + across] for start in range(0, len(shown), across)]
    # A network that runs on one task has no place in panels of others.
    names = [rows_on(study, rows, [one.task for one in line]) for line in lines]
    counts = [len(mine) for mine in names]
    height = _LINE * sum(counts) + _EXTRA * len(lines) + _FOOT
    with figure(height) as canvas:
        grid = panel_rows(canvas, counts, across)
        for panels, line, mine in zip(grid, lines, names, strict=True):
            for axes, one in zip(panels, line, strict=False):
                _panel(axes, frame[frame["data_set"] == one.title], one, mine, study)
            for axes in panels[len(line) :]:
                axes.set_axis_off()
            labels = [row_label(study, inputs.records, row) for row in mine]
            panels[0].set_yticks(range(len(mine)), labels)
            panels[0].set_ylim(len(mine) - 0.4, -0.6)
        canvas.tight_layout(pad=0.3, w_pad=0.6, h_pad=0.8)
        save_figure(canvas, path, caption, frame)


def _panel(
    axes: Axes, frame: pd.DataFrame, one: DataSet, methods: Sequence[str], study: Study
) -> None:
    import seaborn as sns
    from matplotlib.ticker import MaxNLocator

    styles = study_styles(study)
    markers: list[Any] = [styles[method].marker for method in methods]
    ours = frame[frame["source"] == "study"]
    paper = frame[frame["source"] == "paper"]
    controls = frame[frame["source"] == "control"]
    solid = ours if len(ours) else paper
    sns.pointplot(
        solid,
        x="value",
        y="method",
        hue="method",
        order=methods,
        hue_order=methods,
        palette={method: styles[method].colour for method in methods},
        markers=markers,
        linestyles="none",
        errorbar="sd",
        err_kws={"linewidth": 1.0},
        markersize=3,
        legend=False,
        ax=axes,
    )
    if len(ours) and len(paper):
        sns.stripplot(
            paper[paper["same_definition"]],
            x="value",
            y="method",
            order=methods,
            jitter=False,
            marker="D",
            size=3.5,
            facecolor="none",
            edgecolor="black",
            linewidth=0.8,
            ax=axes,
        )
    if len(controls):
        best = (
            controls["value"].max() if metric_name(one.metric).sign > 0 else controls["value"].min()
        )
        axes.axvline(best, color="0.3", linestyle=":", linewidth=0.8, zorder=0)
    axes.set(title=one.title, xlabel=one.axis, ylabel="")
    for place, method in enumerate(methods):
        if one.task in study.tasks_of(method):
            axes.axhline(place, color="0.9", linewidth=0.5, zorder=0)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
    if not metric_name(one.metric).higher_is_better:
        axes.invert_xaxis()
    if solid.empty:
        axes.set_xticks([])
        axes.text(0.5, 0.5, "no run is done", transform=axes.transAxes, ha="center", color="0.4")
