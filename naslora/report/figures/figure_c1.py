"""Figure C1: convergence. Validation score and training loss over epochs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from naslora.data.benchmarks.contract import get_benchmark
from naslora.report.figures.captions import setting, trained_rows
from naslora.report.figures.inputs import Inputs, NothingToDrawError
from naslora.report.figures.saving import save_figure
from naslora.report.figures.style import (
    HIGHLIGHTED,
    SMALL,
    WIDTH,
    figure,
    in_drawing_order,
    legend_columns,
    study_styles,
)
from naslora.report.tables.model import run_title
from naslora.results.aggregate import Aggregate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from naslora.study.settings import Study

_ACROSS = 3  # tasks in a row
_SCORE, _LOSS, _BETWEEN, _FOOT = 0.95, 0.75, 0.56, 0.42  # inches
_WITH_SUBSCRIPT = SMALL / 0.7  # points; matplotlib sets subscripts at 0.7 of the size
_LEFT, _RIGHT, _TOP, _ASIDE = 0.42, 0.06, 0.2, 0.32


def draw_convergence(inputs: Inputs, path: Path) -> None:
    """Draw the validation score per epoch of each task, and below it the mean training loss.

    Lines are means over seeds; LoRA, NAS-LoRA and NAS-PC-LoRA have a band of one standard deviation
    to either side. A dotted line marks T_B, the last epoch before architecture parameters are
    trained. Older records, without validation scores, have losses only.

    Raises:
        NothingToDrawError: no run has finished an epoch.
        DiskError: a file cannot be written.
    """
    study, records = inputs.study, inputs.records
    losses = records.losses
    frame = losses[losses["seed"].isin(study.seeds) & losses["variant"].isin(trained_rows(study))]
    if frame.empty:
        raise NothingToDrawError("no run has finished an epoch")
    frame = frame.rename(columns={"variant": "method"}).drop(columns=["seconds"])
    frame = frame.astype({"val_score": float, "val_loss": float})
    frame["val_score"] *= 100
    tasks = [task for task in study.tasks if task in set(frame["task"])]
    scored = bool(frame["val_score"].notna().any())
    across = min(max(len(tasks), 2), _ACROSS)
    down = -(-len(tasks) // across)
    parts = [_SCORE, _LOSS] if scored else [_SCORE + _LOSS / 2]
    body = down * sum(parts) + (down - 1) * _BETWEEN
    height = _TOP + body + 0.32 + _FOOT
    with figure(height) as canvas:
        panel = (WIDTH - _LEFT - _RIGHT - (across - 1) * _ASIDE) / across
        outer = canvas.add_gridspec(
            down,
            across,
            left=_LEFT / WIDTH,
            right=1 - _RIGHT / WIDTH,
            top=1 - _TOP / height,
            bottom=1 - (_TOP + body) / height,
            wspace=_ASIDE / panel,
            hspace=_BETWEEN / sum(parts),
        )
        for number, task in enumerate(tasks):
            inner = outer[number // across, number % across].subgridspec(
                len(parts), 1, height_ratios=parts, hspace=0.1
            )
            panels = inner.subplots(sharex=True, squeeze=False).ravel().tolist()
            _task(panels, study, records, frame[frame["task"] == task])
            if number % across == 0:
                names = ("validation score (%)", "training loss")[-len(panels) :]
                for axes, name in zip(panels, names, strict=True):
                    axes.set_ylabel(name)
        methods = [method for method in trained_rows(study) if method in set(frame["method"])]
        canvas.legend(
            [_handle(study, method) for method in methods],
            [run_title(records, method) for method in methods],
            loc="lower center",
            ncols=legend_columns(len(methods)),
            handlelength=2.4,
            columnspacing=1.2,
        )
        save_figure(canvas, path, _caption(study, scored), frame)


def _task(panels: Sequence[Axes], study: Study, records: Aggregate, frame: pd.DataFrame) -> None:
    from matplotlib.ticker import MaxNLocator

    task = str(frame["task"].iloc[0])
    if len(panels) > 1:
        scored = frame.dropna(subset=["val_score"])
        _panel(panels[0], scored, "val_score", study)
        if scored.empty:
            panels[0].text(
                0.5,
                0.5,
                "no validation scores",
                transform=panels[0].transAxes,
                ha="center",
                va="center",
                color="0.3",
                backgroundcolor="white",
            )
            panels[0].set_yticks([])
    _panel(panels[-1], frame, "loss", study)
    panels[-1].set_xlabel("epoch")
    panels[-1].xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    starts = _start_epochs(study, records, task)
    marks = "".join(f", $T_B$ = {start}" for start in starts)
    panels[0].set_title(get_benchmark(task).title + marks, fontsize=_WITH_SUBSCRIPT)
    for start in starts:
        for axes in panels:
            axes.axvline(start + 0.5, color="0.4", linewidth=0.7, linestyle=":", zorder=0)


def _panel(axes: Axes, frame: pd.DataFrame, what: str, study: Study) -> None:
    import seaborn as sns

    styles = study_styles(study)
    for banded in (False, True):
        shown = [m for m in in_drawing_order(trained_rows(study)) if (m in HIGHLIGHTED) is banded]
        mine = frame[frame["method"].isin(shown)]
        if mine.empty:
            continue
        sns.lineplot(
            mine,
            x="epoch",
            y=what,
            hue="method",
            hue_order=shown,
            style="method",
            style_order=shown,
            palette={method: styles[method].colour for method in shown},
            dashes={method: styles[method].dash or "" for method in shown},  # type: ignore[misc]
            errorbar="sd" if banded else None,
            err_kws={"alpha": 0.15, "linewidth": 0},
            linewidth=1.3 if banded else 0.6,
            legend=False,
            ax=axes,
        )
    axes.set_ylabel("")
    axes.margins(x=0.02)


def _handle(study: Study, method: str) -> Any:
    from matplotlib.lines import Line2D

    style = study_styles(study)[method]
    wide = 1.3 if method in HIGHLIGHTED else 0.6
    dash: Any = (0, style.dash) if style.dash else "-"
    return Line2D([], [], color=style.colour, linestyle=dash, linewidth=wide)


def _start_epochs(study: Study, records: Aggregate, task: str) -> Sequence[int]:
    """T_B of the methods that search; variants may have their own, and are not drawn."""
    runs = records.runs[(records.runs["task"] == task) & records.runs["searches"].astype(bool)]
    return sorted(
        {
            study.run(task, method, 0).training.architecture.start_epoch
            for method in set(runs["variant"]) & set(study.methods)
        }
    )


def _caption(study: Study, scored: bool) -> str:
    seeds = len(study.seeds)
    what = "Training loss per epoch."
    if scored:
        what = (
            "Validation score (IoU of the foreground, or the mean IoU of the foreground classes) "
            "and training loss per epoch."
        )
    spread = (
        f"Lines: mean of {seeds} seeds; bands of LoRA, NAS-LoRA and NAS-PC-LoRA: plus and minus "
        "one standard deviation."
        if seeds > 1
        else "One seed, so without bands."
    )
    old = "" if scored else " These records have no validation scores."
    return f"{what} {setting(study)} {spread} T_B: the last epoch before alpha is trained.{old}"
