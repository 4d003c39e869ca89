"""Table 4: mean attention distance and relative log amplitude of three encoders.

The paper states neither the size of its images nor from where it counts layers. The main rows are
at the study's own image size, with layers counted from 1: of the conventions that were tried, this
is the one whose random row has the paper's scale in both halves of the table
(`benchmarks/random_vit.py`). The others follow as rows of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

from naslora.analysis.document import (
    PRETRAINED,
    RANDOM,
    TABLE_MODELS,
    Analysis,
    LayerStatistics,
    Scale,
    read_analysis,
)
from naslora.analysis.frequency import at_frequency
from naslora.core.errors import RecordError
from naslora.paper.published import Printed, printed
from naslora.report.tables.cells import CONFIDENCE, Cell
from naslora.report.tables.comparability import why_not_comparable, why_sam_differs
from naslora.report.tables.model import Column, Row, Table
from naslora.report.tables.notes import (
    NOT_COMPARABLE,
    VERDICTS,
    WHAT_WAS_MEASURED,
    Sections,
    has_verdicts,
)
from naslora.report.tables.writers import write_table
from naslora.study.layout import Layout
from naslora.study.settings import Study

NAME = "table4"
PAPER_DEPTH = 32
PAPER_LAYERS = (10, 15, 20)
SHARES = (0.4, 0.6, 0.8)
_WIDEST_PX, _WIDEST_LOG = 3.0, 0.1
_DISTANCES = tuple(f"attention_distance_layer{layer}" for layer in PAPER_LAYERS)
_AMPLITUDES = tuple(f"log_amplitude_{share}pi" for share in SHARES)


@dataclass(frozen=True)
class _Convention:
    """An image size, and from where layers are counted."""

    scale: Scale
    first: int

    def title(self, study: Study) -> str:
        size = study.sam.image_size if self.scale == "native" else self.scale
        return f"{size} px, layers from {self.first}"


MAIN = _Convention("native", 1)
# From benchmarks/results/random_vit-vit_h.json.
RANDOM_VIT_H = (
    "A random ViT-H on 3 real images at 1024 px, layers counted from 1 (benchmarks/random_vit.py), "
    "has 115.9, 116.2 and 115.9 px beside the paper's 114, 117 and 115, and log "
    "amplitudes -5.20, -5.85 and -5.84 beside -5.0, -5.2 and -5.4. Counted from 0, layer 15 has "
    "536.0 px. At 224 px, where every block sees 14 x 14 patches, distances are as near to the "
    "paper's, but the log amplitudes are -3.49, -3.87 and -4.02."
)


def write_table4(study: Study) -> None:
    """Write Table 4 from the analyses that are there, as CSV, Markdown and LaTeX.

    Raises:
        DiskError: a file cannot be written.
    """
    write_table(table4(study), Layout.of(study))


def table4(study: Study) -> Table:
    """Table 4 of a study; what was not analysed is a dash with its status."""
    found, problems = analyses(study)
    depths = {len(a.scales["native"].windows) for a in found.values() if a.status == "done"}
    others = [_Convention("224", 1)]
    if depths == {PAPER_DEPTH}:
        others += [_Convention("native", 0), _Convention("224", 0)]
    rows = [_row(study, model, found.get(model), MAIN) for model in TABLE_MODELS]
    rows += [_row(study, model, found.get(model), c) for c in others for model in TABLE_MODELS]
    return Table(
        name=NAME,
        title=f"Table 4: inductive biases within features, study {study.study}",
        heading="Model",
        parameters=False,
        columns=_columns(),
        rows=tuple(rows),
        sections=_sections(study, found, problems, comparable=has_verdicts(rows)),
    )


def analyses(study: Study) -> tuple[dict[str, Analysis], dict[str, str]]:
    """The analyses for the table and its figures by model, and why others are left out.

    An analysis that does not exist is in neither.
    """
    layout = Layout.of(study)
    task, seed = study.analysis_task, study.seeds[0]
    found: dict[str, Analysis] = {}
    problems: dict[str, str] = {}
    for model in TABLE_MODELS:
        if model not in (RANDOM, PRETRAINED) and model not in study.run_names(task):
            continue
        if not layout.analysis(task, model, seed).is_file():
            continue
        try:
            found[model] = read_analysis(study, task, model, seed)
        except RecordError as error:
            problems[model] = error.what
    return found, problems


def block_index(statistics: LayerStatistics, layer: int, first: int) -> int:
    """The block, from 0, that stands for a layer of the paper's encoder of 32.

    For another depth it is the windowed block nearest in relative depth, the earlier one on a tie:
    the paper's layers, counted from 1, are windowed.
    """
    depth = len(statistics.windows)
    if depth == PAPER_DEPTH:
        return layer - first
    place = (layer - 0.5) / PAPER_DEPTH
    windowed = [i for i, window in enumerate(statistics.windows) if window] or range(depth)
    return min(windowed, key=lambda i: (abs((i + 0.5) / depth - place), i))


def _columns() -> tuple[Column, ...]:
    distances = [
        Column(
            key,
            f"Distance (px), layer {layer}",
            "",
            "",
            "attention_distance",
            (),
            higher_is_better=False,
        )
        for key, layer in zip(_DISTANCES, PAPER_LAYERS, strict=True)
    ]
    amplitudes = [
        Column(key, f"Log amplitude, {share}π", "", "", "log_amplitude", (), decimals=2)
        for key, share in zip(_AMPLITUDES, SHARES, strict=True)
    ]
    return (*distances, *amplitudes)


def _row(study: Study, model: str, analysis: Analysis | None, convention: _Convention) -> Row:
    main = convention == MAIN
    paper = TABLE_MODELS[model]
    comparable = main and not _why_not(study, model)
    cells = [
        _cell(
            study,
            model,
            analysis,
            values=_values(analysis, convention, index),
            paper=printed("4", paper, key) if main else None,
            comparable=comparable,
            widest=_WIDEST_PX if key in _DISTANCES else _WIDEST_LOG,
        )
        for index, key in enumerate((*_DISTANCES, *_AMPLITUDES))
    ]
    return Row(
        name=model if main else f"{model}, {convention.title(study)}",
        title=paper if main else f"{paper}, {convention.title(study)}",
        kind="method",
        cells=tuple(cells),
        printed=paper if main else None,
        ranked=main,
    )


def _values(analysis: Analysis | None, convention: _Convention, index: int) -> tuple[float, ...]:
    """One number per image: a distance for the first columns, an amplitude for the others."""
    if analysis is None or analysis.status != "done":
        return ()
    statistics = analysis.scales[convention.scale]
    if index < len(PAPER_LAYERS):
        block = block_index(statistics, PAPER_LAYERS[index], convention.first)
        return tuple(statistics.distance_by_image[block])
    share = SHARES[index - len(PAPER_LAYERS)]
    return tuple(at_frequency(statistics.amplitude_by_image, share).tolist())


def _cell(
    study: Study,
    model: str,
    analysis: Analysis | None,
    *,
    values: tuple[float, ...],
    paper: Printed | None,
    comparable: bool,
    widest: float,
) -> Cell:
    known = model in (RANDOM, PRETRAINED) or model in study.run_names(study.analysis_task)
    status = analysis.status if analysis else ("missing" if known else "not in this study")
    return Cell(values, status, paper, comparable, widest)


def _why_not(study: Study, model: str) -> list[str]:
    """How a row's setting differs from the paper's, as far as the paper states it."""
    task = study.analysis_task
    if model not in (RANDOM, PRETRAINED):
        return why_not_comparable(study, task)
    reasons = why_sam_differs(study.sam.backbone, study.sam.image_size)
    if task in study.generated:
        reasons.append("the images are generated")
    if model == PRETRAINED and study.sam.checkpoint != "official":
        reasons.append(f"the checkpoint is {study.sam.checkpoint}, not SAM's official one")
    return reasons


def _sections(
    study: Study, found: dict[str, Analysis], problems: dict[str, str], *, comparable: bool
) -> Sections:
    parts = (
        (WHAT_WAS_MEASURED, _what(study, found)),
        ("Conventions", _CONVENTIONS),
        (VERDICTS, (_VERDICT_RULE,) if comparable else ()),
        (NOT_COMPARABLE, _incomparable(study)),
        ("Left out", tuple(f"{TABLE_MODELS[m]}: {what}." for m, what in problems.items())),
    )
    return tuple((title, lines) for title, lines in parts if lines)


def _what(study: Study, found: dict[str, Analysis]) -> tuple[str, ...]:
    done = {model: a for model, a in found.items() if a.status == "done"}
    kind = "generated" if study.analysis_task in study.generated else "real"
    counts = sorted({len(analysis.images) for analysis in done.values()})
    number = " or ".join(map(str, counts)) if counts else "no"
    lines = [
        f"Study `{study.study}`: SAM `{study.sam.backbone}`, checkpoint {study.sam.checkpoint}; "
        f"{number} {kind} test images of {study.analysis_task}, drawn with seed "
        f"{study.analysis.seed}; models of seed {study.seeds[0]}. The first rows: "
        f"{MAIN.title(study)}."
    ]
    for statistics in [a.scales["native"] for a in done.values()][:1]:
        depth = len(statistics.windows)
        if depth != PAPER_DEPTH:
            blocks = (block_index(statistics, layer, 1) + 1 for layer in PAPER_LAYERS)
            lines.append(
                f"This encoder has {depth} blocks, not {PAPER_DEPTH}. Layers 10, 15 and 20 are its "
                f"blocks {', '.join(map(str, blocks))}, counted from 1: the windowed ones nearest "
                "in relative depth."
            )
        lines.append(
            "Uniform attention over the whole map would be "
            f"{statistics.uniform_distance:.1f} px at {statistics.image_size} px."
        )
    return tuple(lines)


_CONVENTIONS = (
    "Attention distance: mean over queries of the attention-weighted distance to all patches, then "
    "over heads, in pixels of the encoder's input (Raghu et al. 2021). In windows, distances are "
    "those inside a window.",
    "Relative log amplitude of the last block's output: ln |FFT| on the diagonal of the spectrum, "
    "minus its value at frequency 0 (Park and Kim 2022), linear between frequencies.",
    "± is the standard deviation over images.",
    "The paper states neither image size nor counting. At 1024 px a window of 14 x 14 patches "
    "gives 116.5 px for uniform attention, and the global blocks (8, 16, 24 and 32 of ViT-H, "
    "counted from 1; 7, 15, 23 and 31 from 0) 533.9 px. Counted from 1, layers 10, 15 and 20 all "
    "have windows; counted from 0, layer 15 is global. "
    f"{RANDOM_VIT_H} Hence the first rows are at the study's own size and count from 1.",
)


_VERDICT_RULE = (
    f"Reproduced: the paper's number, unrounded, may lie in the {100 * CONFIDENCE:g} % t-interval "
    "of our mean over images. The interval covers differences between images, not between runs or "
    "data sets, of which the paper names none."
)


def _incomparable(study: Study) -> tuple[str, ...]:
    """The rows of the paper's table that cannot be compared, by their reasons."""
    by_reasons: dict[str, list[str]] = {}
    for model, paper in TABLE_MODELS.items():
        if reasons := _why_not(study, model):
            by_reasons.setdefault("; ".join(reasons), []).append(paper)
    return tuple(f"{', '.join(rows)}: {reasons}." for reasons, rows in by_reasons.items())
