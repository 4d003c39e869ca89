"""Attention distances and log amplitudes of all layers, which include Table 4's numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from naslora.analysis.document import SCALES, TABLE_MODELS, Analysis, LayerStatistics, Scale
from naslora.analysis.frequency import frequencies
from naslora.core.wording import joined
from naslora.data.benchmarks.contract import get_benchmark
from naslora.report.figures.inputs import Inputs, NothingToDrawError
from naslora.report.figures.saving import save_figure
from naslora.report.figures.style import BLUE, ORANGE, WIDTH, figure
from naslora.report.tables.table4 import SHARES, analyses

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from naslora.study.settings import Study

_PANEL, _FOOT = 1.55, 0.2  # inches
_DEPTHS = "viridis_r"  # a colour map of matplotlib
_KINDS = {"head, windowed": BLUE, "head, global": ORANGE}


def draw_attention_distances(inputs: Inputs, path: Path) -> None:
    """Draw every head's mean attention distance over layers: a point per head, a line for the mean.

    A row per image size, a panel per model; one that was not analysed says so.

    Raises:
        NothingToDrawError: no model was analysed.
        DiskError: a file cannot be written.
    """
    from matplotlib.lines import Line2D

    found, frame = _collected(inputs.study, _distance_frame)
    with figure(_PANEL * len(SCALES) + _FOOT) as canvas:
        grid = _panels(canvas, inputs.study, found, frame, _distances)
        for line in grid:
            line[0].set_ylabel("attention distance (px)")
            line[0].set_ylim(bottom=0)
        for axes in grid[-1]:
            axes.set_xlabel("layer, counted from 1")
        handles = {
            **{
                kind: Line2D([], [], color=c, marker="o", linestyle="")
                for kind, c in _KINDS.items()
            },
            "mean of heads": Line2D([], [], color="black"),
            "uniform attention over the map": Line2D([], [], color="0.4", linestyle=":"),
        }
        canvas.legend(handles.values(), handles.keys(), loc="lower center", ncols=4)
        canvas.tight_layout(pad=0.3, rect=(0, _FOOT / canvas.get_figheight(), 1, 1))
        caption = f"Mean attention distance of each head. {_about(inputs.study, found)}"
        save_figure(canvas, path, caption, frame)


def draw_log_amplitudes(inputs: Inputs, path: Path) -> None:
    """Draw the relative log amplitude over frequencies: a curve per layer, a panel per model.

    Raises:
        NothingToDrawError: no model was analysed.
        DiskError: a file cannot be written.
    """
    import matplotlib
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.ticker import MaxNLocator

    found, frame = _collected(inputs.study, _amplitude_frame)
    depth = int(frame["block"].max())
    colours = ScalarMappable(Normalize(0, depth), matplotlib.colormaps[_DEPTHS])
    bar = 0.55  # inches for the colour bar
    with figure(_PANEL * len(SCALES)) as canvas:

        def draw(axes: Axes, mine: pd.DataFrame) -> None:
            _amplitudes(axes, mine, depth)

        grid = _panels(canvas, inputs.study, found, frame, draw)
        for line in grid:
            line[0].set_ylabel("relative log amplitude (ln)")
        for axes in grid[-1]:
            axes.set_xlabel("frequency (π)")
        canvas.tight_layout(pad=0.3, rect=(0, 0, 1 - bar / WIDTH, 1))
        beside = canvas.add_axes((1 - (bar - 0.08) / WIDTH, 0.2, 0.09 / WIDTH, 0.66))
        label = canvas.colorbar(colours, cax=beside)
        label.set_label("after block (0: before the first)")
        label.ax.yaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
        caption = f"Relative log amplitude of each block's output. {_about(inputs.study, found)}"
        save_figure(canvas, path, caption, frame)


def _collected(
    study: Study, tidy: Callable[[LayerStatistics], pd.DataFrame]
) -> tuple[dict[str, str], pd.DataFrame]:
    """By model, why it has no numbers (empty if it has some); and the numbers of all models."""
    found, problems = analyses(study)
    parts, reasons = [], {}
    for model in TABLE_MODELS:
        analysis = found.get(model)
        reasons[model] = _reason(analysis, model in problems)
        for scale in SCALES:
            if analysis is not None and scale in analysis.scales:
                statistics = analysis.scales[scale]
                part = tidy(statistics).assign(model=model, image_size=_size(study, scale))
                parts.append(part.assign(images=len(analysis.images)))
    if not parts:
        raise NothingToDrawError("no model was analysed")
    return reasons, pd.concat(parts, ignore_index=True)


def _reason(analysis: Analysis | None, left_out: bool) -> str:
    if analysis is None:
        return "left out, see Table 4" if left_out else "not analysed"
    return "" if analysis.status == "done" else f"the run is {analysis.status}"


def _size(study: Study, scale: Scale) -> int:
    return study.sam.image_size if scale == "native" else int(scale)


def _panels(
    canvas: Figure,
    study: Study,
    reasons: dict[str, str],
    frame: pd.DataFrame,
    draw: Callable[[Axes, pd.DataFrame], None],
) -> list[list[Axes]]:
    grid = canvas.subplots(len(SCALES), len(TABLE_MODELS), sharey="row", squeeze=False)
    for scale, line in zip(SCALES, grid, strict=True):
        size = _size(study, scale)
        for model, axes in zip(TABLE_MODELS, line, strict=True):
            mine = frame[(frame["model"] == model) & (frame["image_size"] == size)]
            if mine.empty:
                axes.text(
                    0.5, 0.5, reasons[model], transform=axes.transAxes, ha="center", color="0.4"
                )
                axes.set_xticks([])
            else:
                draw(axes, mine)
            axes.set(title=f"{TABLE_MODELS[model]}, {size} px", xlabel="", ylabel="")
    return [list(line) for line in grid]


def _distance_frame(statistics: LayerStatistics) -> pd.DataFrame:
    lines = [
        (
            layer,
            head,
            "head, windowed" if 0 < window < statistics.grid else "head, global",
            distance,
        )
        for layer, (heads, window) in enumerate(
            zip(statistics.distance, statistics.windows, strict=True), start=1
        )
        for head, distance in enumerate(heads, start=1)
    ]
    frame = pd.DataFrame(lines, columns=["layer", "head", "attention", "distance_px"])
    return frame.assign(uniform_px=statistics.uniform_distance)


def _distances(axes: Axes, mine: pd.DataFrame) -> None:
    import seaborn as sns
    from matplotlib.ticker import MaxNLocator

    sns.lineplot(mine, x="layer", y="distance_px", color="black", errorbar=None, ax=axes)
    sns.scatterplot(
        mine,
        x="layer",
        y="distance_px",
        hue="attention",
        palette=_KINDS,
        s=9,
        linewidth=0,
        alpha=0.8,
        legend=False,
        zorder=3,
        ax=axes,
    )
    axes.axhline(mine["uniform_px"].iloc[0], color="0.4", linestyle=":", linewidth=0.8)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))


def _amplitude_frame(statistics: LayerStatistics) -> pd.DataFrame:
    curves = np.asarray(statistics.amplitude)
    frame = pd.DataFrame(curves, columns=frequencies(curves.shape[1]))
    return (
        frame.rename_axis(index="block")
        .reset_index()
        .melt("block", var_name="frequency", value_name="log_amplitude")
    )


def _amplitudes(axes: Axes, mine: pd.DataFrame, depth: int) -> None:
    import seaborn as sns

    sns.lineplot(
        mine,
        x="frequency",
        y="log_amplitude",
        hue="block",
        hue_norm=(0, depth),
        palette=_DEPTHS,
        errorbar=None,
        linewidth=0.8,
        legend=False,
        ax=axes,
    )
    for share in SHARES:
        axes.axvline(share, color="0.6", linestyle=":", linewidth=0.7, zorder=0)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, *SHARES, 1], ["0", *map(str, SHARES), "1"])


def _about(study: Study, reasons: dict[str, str]) -> str:
    kind = "generated" if study.analysis_task in study.generated else "real"
    benchmark = get_benchmark(study.analysis_task).title
    missing = [TABLE_MODELS[model] for model, reason in reasons.items() if reason]
    return (
        f"Study {study.study}: SAM {study.sam.backbone}, seed {study.seeds[0]}; means over "
        f"{kind} test images of {benchmark}."
    ) + (f" Without numbers: {joined(missing)}." if missing else "")
