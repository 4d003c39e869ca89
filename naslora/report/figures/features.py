"""Attention distances and log amplitudes of all layers: Table 4's numbers, and all around them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from naslora.analysis.document import SCALES, TABLE_MODELS, Analysis, LayerStatistics, Scale
from naslora.analysis.frequency import frequencies
from naslora.report.figures.style import COLOURS, figure, save_figure
from naslora.report.tables.table4 import SHARES, analyses
from naslora.study.settings import Study

_PANEL_WIDTH, _PANEL_HEIGHT, _FOOT = 2.9, 2.4, 0.55
_WINDOWED, _GLOBAL = COLOURS[0], COLOURS[1]


def draw_attention_distances(study: Study, path: Path) -> None:
    """Draw every head's mean attention distance over layers: a dot per head, a line for the mean.

    A row per image size, a panel per model; one that was not analysed says so.

    Raises:
        DiskError: a file cannot be written.
    """
    found, problems = analyses(study)
    with figure(_PANEL_WIDTH * len(TABLE_MODELS), _height()) as canvas:
        grid = canvas.subplots(len(SCALES), len(TABLE_MODELS), sharey="row", squeeze=False)
        for scale, line in zip(SCALES, grid, strict=True):
            for model, axes in zip(TABLE_MODELS, line, strict=True):
                statistics = _statistics(found.get(model), scale)
                axes.set_title(f"{TABLE_MODELS[model]}, {_size(study, scale)} px")
                if statistics is None:
                    _absent(axes, model, found, problems)
                else:
                    _distances(axes, statistics)
            line[0].set_ylabel("attention distance (px)")
            line[0].set_ylim(bottom=0)  # of all panels that share it, once they are drawn
        for axes in grid[-1]:
            axes.set_xlabel("layer, counted from 1")
        handles = [
            Line2D([], [], color=_WINDOWED, marker=".", linestyle=""),
            Line2D([], [], color=_GLOBAL, marker="s", markersize=3, linestyle=""),
            Line2D([], [], color="black"),
            Line2D([], [], color="0.4", linestyle=":"),
        ]
        labels = [
            "head, windowed",
            "head, global",
            "mean of heads",
            "uniform attention over the map",
        ]
        canvas.legend(handles, labels, loc="lower center", ncols=4, bbox_to_anchor=(0.5, 0.035))
        _foot(canvas, study, found)
        canvas.tight_layout(rect=(0, _FOOT / _height(), 1, 1))
        save_figure(canvas, path)


def draw_log_amplitudes(study: Study, path: Path) -> None:
    """Draw the relative log amplitude over frequencies: a curve per layer, a panel per model.

    Raises:
        DiskError: a file cannot be written.
    """
    found, problems = analyses(study)
    depth = max(
        (len(a.scales["native"].windows) for a in found.values() if a.status == "done"), default=1
    )
    colours = ScalarMappable(Normalize(0, depth), matplotlib.colormaps["viridis_r"])
    with figure(_PANEL_WIDTH * len(TABLE_MODELS) + 0.6, _height()) as canvas:
        grid = canvas.subplots(len(SCALES), len(TABLE_MODELS), sharey="row", squeeze=False)
        for scale, line in zip(SCALES, grid, strict=True):
            for model, axes in zip(TABLE_MODELS, line, strict=True):
                statistics = _statistics(found.get(model), scale)
                axes.set_title(f"{TABLE_MODELS[model]}, {_size(study, scale)} px")
                if statistics is None:
                    _absent(axes, model, found, problems)
                else:
                    _amplitudes(axes, statistics, colours)
            line[0].set_ylabel("relative log amplitude (ln)")
        for axes in grid[-1]:
            axes.set_xlabel("frequency (π)")
        _foot(canvas, study, found)
        width = canvas.get_figwidth()
        canvas.tight_layout(rect=(0, 0.28 / _height(), 1 - 0.7 / width, 1))
        beside = canvas.add_axes((1 - 0.62 / width, 0.2, 0.12 / width, 0.72))
        bar = canvas.colorbar(colours, cax=beside)
        bar.set_label("after block (0: before the first)")
        bar.ax.yaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
        save_figure(canvas, path)


def _height() -> float:
    return _PANEL_HEIGHT * len(SCALES) + _FOOT


def _size(study: Study, scale: Scale) -> int:
    return study.sam.image_size if scale == "native" else int(scale)


def _statistics(analysis: Analysis | None, scale: Scale) -> LayerStatistics | None:
    return analysis.scales.get(scale) if analysis else None


def _absent(
    axes: Axes, model: str, found: Mapping[str, Analysis], problems: Mapping[str, str]
) -> None:
    if model in found:
        reason = f"the run is {found[model].status}"
    else:
        reason = "left out, see Table 4" if model in problems else "not analysed"
    axes.text(0.5, 0.5, reason, transform=axes.transAxes, ha="center", color="0.4")
    axes.tick_params(bottom=False, labelbottom=False)


def _distances(axes: Axes, statistics: LayerStatistics) -> None:
    layers = np.arange(1, len(statistics.windows) + 1)
    for layer, heads, window in zip(layers, statistics.distance, statistics.windows, strict=True):
        local = bool(window) and window < statistics.grid
        axes.plot(
            [layer] * len(heads),
            heads,
            linestyle="",
            marker="." if local else "s",
            markersize=4 if local else 2.5,
            markeredgewidth=0,
            alpha=0.6,
            color=_WINDOWED if local else _GLOBAL,
        )
    axes.plot(layers, np.mean(statistics.distance, axis=1), color="black", linewidth=1)
    axes.axhline(statistics.uniform_distance, color="0.4", linestyle=":", linewidth=1)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))


def _amplitudes(axes: Axes, statistics: LayerStatistics, colours: ScalarMappable) -> None:
    for layer, curve in enumerate(statistics.amplitude):
        axes.plot(
            frequencies(len(curve)),
            curve,
            color=colours.to_rgba(np.array([layer]))[0],
            linewidth=0.9,
        )
    for share in SHARES:
        axes.axvline(share, color="0.6", linestyle=":", linewidth=0.8, zorder=0)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, *SHARES, 1], ["0", *map(str, SHARES), "1"])


def _foot(canvas: Figure, study: Study, found: Mapping[str, Analysis]) -> None:
    counts = sorted({len(a.images) for a in found.values() if a.status == "done"})
    number = " or ".join(map(str, counts)) if counts else "no"
    kind = "generated" if study.analysis_task in study.generated else "real"
    canvas.text(
        0.01,
        0.01,
        f"Study {study.study}: SAM {study.sam.backbone}, {number} {kind} test images of "
        f"{study.analysis_task}, seed {study.seeds[0]}; means over images.",
        fontsize=7,
        va="bottom",
    )
