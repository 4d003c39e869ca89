"""The figures of a study, by name: what each shows, what it is made from, and its files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from naslora.core.errors import SettingsError
from naslora.core.wording import first_of
from naslora.results.sources import ALL_SOURCES, RECORDS, sources_of, write_sources
from naslora.study.layout import Layout
from naslora.study.settings import Study

if TYPE_CHECKING:
    from naslora.report.figures.inputs import Inputs
    from naslora.results.aggregate import Aggregate

# Records are those of runs and controls; weights are those of runs, and come with test images.
Source = Literal["records", "timings", "analyses", "weights"]
# In the order of `figure_paths`: the picture twice, its numbers, and its caption twice.
SUFFIXES = ("png", "pdf", "csv", "md", "tex")
ALL = "all"
# Limits of a message: pictures named per reason, and lines of reasons.
_NAMED, _LINES = 4, 5
Draw = Callable[["Inputs", Path], None]


@dataclass(frozen=True)
class Picture:
    """One picture of a figure.

    Attributes:
        name: of its files, without suffix.
        title: what it shows.
        draw: draws it to a path ending in .png, with the other files beside it.
        label: the paper's number of the figure, or our own name, for captions and links.
    """

    name: str
    title: str
    draw: Draw
    label: str


@dataclass(frozen=True)
class Drawing:
    """A figure: one picture or several.

    Attributes:
        title: what it shows.
        sources: what it is made from.
        pictures: those that a study has; none where the study cannot have this figure.
    """

    title: str
    sources: tuple[Source, ...]
    pictures: Callable[[Study], list[Picture]]


# Modules that draw are imported on call, because the workflow reads names only.


def _draw(module: str, function: str, *arguments: str) -> Draw:
    """A function of a module of this package, imported when it is called."""

    def draw(inputs: Inputs, path: Path) -> None:
        from importlib import import_module

        found = getattr(import_module(f"naslora.report.figures.{module}"), function)
        found(inputs, path, *arguments)

    return draw


def _ranking(study: Study) -> list[Picture]:
    if "lora" not in study.methods or len(study.methods) == 1:
        return []
    return [
        Picture("ranking", "Ranking of the methods", _draw("ranking", "draw_ranking"), "Ranking")
    ]


def _figure1b(study: Study) -> list[Picture]:
    from naslora.report.figures.scores import any_printed, has_radar

    found = [
        Picture(
            "figure1b", "Scores on every data set", _draw("figure1b", "draw_scores"), "Figure 1b"
        )
    ]
    if any_printed(study):
        draw = _draw("figure1b", "draw_printed_scores")
        found.append(
            Picture("figure1b_paper", "Scores that the paper prints", draw, "Figure 1b (paper)")
        )
    if has_radar(study):
        draw = _draw("radar", "draw_radar")
        found.append(
            Picture("figure1b_radar", "The same as a radar chart", draw, "Figure 1b (radar)")
        )
    return found


def _figure1c(study: Study) -> list[Picture]:
    title = "Training time and inference time"
    return [Picture("figure1c", title, _draw("figure1c", "draw_costs"), "Figure 1c")]


def _figure3(study: Study) -> list[Picture]:
    return [
        Picture(
            "figure3" if rank == "median" else f"figure3_{rank}",
            f"Predictions for the {rank} test image of every task",
            _draw("figure3", "draw_comparison", rank),
            "Figure 3" if rank == "median" else f"Figure 3 ({rank})",
        )
        for rank in ("median", "best", "worst")
    ]


def _adaptation(study: Study) -> list[Picture]:
    if study.sam.checkpoint == "random":
        return []
    title = "Predictions before and after adaptation"
    return [Picture("adaptation", title, _draw("zero_shot", "draw_adaptation"), "Adaptation")]


def _figure4(study: Study) -> list[Picture]:
    title = "Grad-CAM of the image encoder"
    return [Picture("figure4", title, _draw("figure4", "draw_grad_cams"), "Figure 4")]


def _figure_c1(study: Study) -> list[Picture]:
    title = "Validation score and training loss over epochs"
    return [Picture("figureC1", title, _draw("figure_c1", "draw_convergence"), "Figure C1")]


def _figure_c2(study: Study) -> list[Picture]:
    if not {"nas_lora", "nas_pc_lora"} & {*study.methods}:
        return []
    draw = _draw("figure_c2", "draw_shares")
    by_block = _draw("figure_c2", "draw_shares_by_block")
    return [
        Picture("figureC2", "Shares of the operations, by task", draw, "Figure C2"),
        Picture(
            "figureC2_blocks", "Shares of the operations, by block", by_block, "Figure C2 (blocks)"
        ),
    ]


def _attention_distance(study: Study) -> list[Picture]:
    draw = _draw("features", "draw_attention_distances")
    title = "Attention distance of all layers"
    return [Picture("attention_distance", title, draw, "Attention distance")]


def _log_amplitude(study: Study) -> list[Picture]:
    draw = _draw("features", "draw_log_amplitudes")
    return [Picture("log_amplitude", "Log amplitude of all layers", draw, "Log amplitude")]


def _gallery(study: Study) -> list[Picture]:
    from naslora.data.benchmarks.contract import get_benchmark

    return [
        Picture(
            f"gallery_{task}",
            f"Test images of {get_benchmark(task).title} with every method's prediction",
            _draw("gallery", "draw_gallery", task),
            get_benchmark(task).title,
        )
        for task in study.tasks
    ]


FIGURES: dict[str, Drawing] = {
    "ranking": Drawing("Differences to LoRA, and mean ranks over tasks", ("records",), _ranking),
    "figure1b": Drawing("Figure 1b: scores on every data set", ("records",), _figure1b),
    "figure1c": Drawing(
        "Figure 1c: training time and inference time", ("records", "timings"), _figure1c
    ),
    "figure3": Drawing(
        "Figure 3: predictions on an image of every task", ("records", "weights"), _figure3
    ),
    "adaptation": Drawing(
        "Predictions from prompts without training, and of adapted methods",
        ("records", "weights"),
        _adaptation,
    ),
    "figure4": Drawing("Figure 4: Grad-CAM of the image encoder", ("records", "weights"), _figure4),
    "figureC1": Drawing("Figure C1: convergence", ("records",), _figure_c1),
    "figureC2": Drawing("Figure C2: shares of the operations", ("records",), _figure_c2),
    "attention_distance": Drawing(
        "Attention distance of all layers (Table 4)",
        ("analyses",),
        _attention_distance,
    ),
    "log_amplitude": Drawing(
        "Log amplitude of all layers (Table 4)",
        ("analyses",),
        _log_amplitude,
    ),
    "gallery": Drawing(
        "Test images of every task with every method's prediction", ("records", "weights"), _gallery
    ),
}


def figures_of(study: Study, *, weights: bool | None = None) -> list[str]:
    """The names of the figures that a study has.

    Args:
        study: the study.
        weights: True for figures made from weights and images, False for the others; by default
            all.
    """
    return [
        name
        for name, drawing in FIGURES.items()
        if weights in (None, "weights" in drawing.sources) and drawing.pictures(study)
    ]


def picture_paths(study: Study, picture: str) -> list[Path]:
    """The files of one picture, in the order of `SUFFIXES`."""
    layout = Layout.of(study)
    return [layout.figure(picture, suffix) for suffix in SUFFIXES]


def figure_paths(study: Study, name: str) -> list[Path]:
    """The files of all pictures of a figure."""
    pictures = FIGURES[name].pictures(study)
    return [path for picture in pictures for path in picture_paths(study, picture.name)]


def write_figures(
    study: Study,
    names: Sequence[str],
    *,
    allow_empty: bool = False,
    written: Callable[[Path], object] | None = None,
) -> list[Path]:
    """Draw figures, each picture as PNG and PDF with its numbers and its caption.

    Runs that are missing are left out of a picture, and its caption says so.

    Args:
        study: the study.
        names: of figures; `all` are those that the study has.
        allow_empty: a picture without content is written too, and says why it has none.
        written: called with each file when it is written.

    Returns:
        The files.

    Raises:
        SettingsError: there is no such figure, or the study cannot have it.
        NothingToDrawError: the study has no results, or some picture has no content; the latter is
            raised after the others are written.
        RecordError: weights or images are not those of the records.
        DiskError: a file cannot be written.
    """
    chosen = _chosen(study, names)
    if not chosen:
        return []
    from naslora.report.figures.inputs import Inputs, NothingToDrawError
    from naslora.report.figures.saving import save_reason
    from naslora.results.aggregate import aggregate

    sources = sources_of(study)
    inputs = Inputs(study, aggregate(study))
    if not allow_empty and not _has_results(study, inputs.records):
        raise NothingToDrawError(
            f"study {study.study} has neither records nor timings to draw",
            where=Layout.of(study).root,
            remedy=f"run the study first: naslora run --study {study.study}",
        )
    paths: list[Path] = []
    empty = {}
    for name in chosen:
        for picture in FIGURES[name].pictures(study):
            path = Layout.of(study).figure(picture.name)
            try:
                picture.draw(inputs, path)
            except NothingToDrawError as error:
                if not allow_empty:
                    empty[picture.name] = error.what
                    continue
                save_reason(path, error.what)
            for beside in picture_paths(study, picture.name):
                paths.append(beside)
                if written is not None:
                    written(beside)
    for name in chosen:
        if not {picture.name for picture in FIGURES[name].pictures(study)} & {*empty}:
            used = RECORDS if "weights" in FIGURES[name].sources else ALL_SOURCES
            write_sources(Layout.of(study).figures, [name], sources, used)
    if empty:
        problems = inputs.records.problems
        raise NothingToDrawError(
            reasons(empty),
            where=Layout.of(study).root,
            remedy=f"run the study first: naslora run --study {study.study}"
            + (
                f"; {len(problems)} records were left out, see tables/status.md" if problems else ""
            ),
        )
    return paths


def _has_results(study: Study, records: Aggregate) -> bool:
    layout = Layout.of(study)
    files = (layout.timing.glob("*.json"), layout.analyses.glob("*.json"))
    return not records.runs.empty or bool(records.problems) or any(map(any, files))


def reasons(empty: Mapping[str, str]) -> str:
    """Why pictures have no content: a line for each reason, five at most."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in empty.items():
        by_reason.setdefault(reason, []).append(name)
    lines = []
    for reason, names in by_reason.items():
        lines.append(f"{first_of(names, _NAMED)}: {reason}")
    if len(lines) > _LINES:
        lines = [*lines[: _LINES - 1], f"and {len(lines) - _LINES + 1} more reasons"]
    return "\n  ".join(lines)


def _chosen(study: Study, names: Sequence[str]) -> list[str]:
    known = figures_of(study)
    for name in names:
        if name not in (*FIGURES, ALL):
            raise SettingsError(
                f"no figure named {name!r}", remedy=f"choose from {', '.join((*FIGURES, ALL))}"
            )
        if name not in (*known, ALL):
            raise SettingsError(
                f"study {study.study} does not have the methods of {name}",
                remedy=f"choose from {', '.join((*known, ALL))}",
            )
    return list(dict.fromkeys(one for name in names for one in (known if name == ALL else [name])))
