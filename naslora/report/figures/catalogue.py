"""The figures of a study, by name, and what each is made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from naslora.core.errors import SettingsError
from naslora.study.layout import Layout
from naslora.study.settings import Study

if TYPE_CHECKING:
    from naslora.results.aggregate import Aggregate

Source = Literal["records", "analyses", "weights"]
SUFFIXES = ("png", "pdf")
ALL = "all"


@dataclass(frozen=True)
class Drawing:
    """A figure that can be drawn.

    Attributes:
        title: what it shows.
        source: what it is made from; `weights` stands for adapter weights and images.
        draw: draws it to a path ending in .png, and beside it as .pdf, given the study and its
            records.
        parts: of further pictures that come with it, named `<figure>_<part>`.
    """

    title: str
    source: Source
    draw: Callable[[Study, Aggregate, Path], None]
    parts: tuple[str, ...] = ()


# Imports that take longer than a figure's name are inside the functions: the workflow reads names.


def _scores(study: Study, records: Aggregate, path: Path) -> None:
    from naslora.report.figures.figure1b import draw_scores

    draw_scores(study, records, path)


def _costs(study: Study, records: Aggregate, path: Path) -> None:
    from naslora.report.figures.figure1c import draw_costs

    draw_costs(study, records, path)


def _comparisons(study: Study, records: Aggregate, path: Path) -> None:
    from naslora.report.figures.figure3 import draw_comparisons

    draw_comparisons(study, records, path)


def _grad_cam(study: Study, records: Aggregate, path: Path) -> None:
    from naslora.report.figures.figure4 import draw_grad_cams

    draw_grad_cams(study, records, path)


def _losses(study: Study, records: Aggregate, path: Path) -> None:
    from naslora.report.figures.curves import draw_losses

    draw_losses(study, records, path)


def _shares(study: Study, records: Aggregate, path: Path) -> None:
    from naslora.report.figures.figure_c2 import draw_shares, draw_shares_by_block

    draw_shares(study, records, path)
    draw_shares_by_block(study, records, path.with_stem(f"{path.stem}_blocks"))


def _distances(study: Study, records: Aggregate, path: Path) -> None:
    from naslora.report.figures.features import draw_attention_distances

    draw_attention_distances(study, path)


def _amplitudes(study: Study, records: Aggregate, path: Path) -> None:
    from naslora.report.figures.features import draw_log_amplitudes

    draw_log_amplitudes(study, path)


def _outlines(study: Study, records: Aggregate, path: Path) -> None:
    from naslora.report.figures.visual_comparison import draw_visual_comparison

    draw_visual_comparison(study, records, path)


FIGURES: dict[str, Drawing] = {
    "figure1b": Drawing("Figure 1b: methods on every data set", "records", _scores),
    "figure1c": Drawing("Figure 1c: training cost and inference time", "records", _costs),
    "figure3": Drawing(
        "Figure 3: predictions on an image of every task",
        "weights",
        _comparisons,
        parts=("best", "worst"),
    ),
    "figure4": Drawing("Figure 4: Grad-CAM of the image encoder", "weights", _grad_cam),
    "figureC1": Drawing("Figure C1: convergence", "records", _losses),
    "figureC2": Drawing(
        "Figure C2: shares of the operations", "records", _shares, parts=("blocks",)
    ),
    "attention_distance": Drawing(
        "Attention distance of all layers (Table 4)", "analyses", _distances
    ),
    "log_amplitude": Drawing("Log amplitude of all layers (Table 4)", "analyses", _amplitudes),
    "outlines": Drawing("Outlines on three test images of one task", "weights", _outlines),
}


def figures_from(*sources: Source) -> list[str]:
    """Names of the figures that are made from one of these."""
    return [name for name, drawing in FIGURES.items() if drawing.source in sources]


def pictures(name: str) -> list[str]:
    """The file names of a figure and its parts, without suffixes."""
    return [name, *(f"{name}_{part}" for part in FIGURES[name].parts)]


def figure_paths(study: Study, name: str) -> list[Path]:
    """The files of a figure and its parts, each PNG followed by its PDF."""
    layout = Layout.of(study)
    return [layout.figure(picture, suffix) for picture in pictures(name) for suffix in SUFFIXES]


def write_figures(study: Study, names: Sequence[str]) -> list[Path]:
    """Draw figures, each as PNG and as PDF; `all` are all of them.

    What was not run is missing in a figure, which says so.

    Raises:
        SettingsError: there is no such figure.
        RecordError: weights or images are not those of the records.
        DiskError: a file cannot be written.
    """
    chosen = list(dict.fromkeys(n for name in names for n in (FIGURES if name == ALL else [name])))
    for name in chosen:
        if name not in FIGURES:
            raise SettingsError(
                f"no figure named {name!r}", remedy=f"choose from {', '.join((*FIGURES, ALL))}"
            )
    if not chosen:
        return []
    from naslora.results.aggregate import aggregate

    records = aggregate(study)
    for name in chosen:
        FIGURES[name].draw(study, records, Layout.of(study).figure(name))
    return [path for name in chosen for path in figure_paths(study, name)]
