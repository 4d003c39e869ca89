"""The notes under a table: on the runs, on the verdicts, and on rows that beat no control."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from naslora.core.wording import range_of
from naslora.nas.settings import PAPER_COUNT, rate_text
from naslora.report.tables.cells import DECIDED, WIDEST
from naslora.report.tables.comparability import PAPER_CELLS, same_images, why_not_comparable
from naslora.report.tables.leakage import LEAKAGE, leakage
from naslora.report.tables.model import Column, Row, RowKind, TableSpec, flat
from naslora.report.tables.standing import behind_scratch, best_of
from naslora.results.aggregate import Aggregate
from naslora.results.comparison import Comparison
from naslora.study.layout import Layout
from naslora.study.settings import Study

# Titles of sections that LaTeX tables quote, too.
WHAT_WAS_RUN = "What was run"
WHAT_WAS_MEASURED = "What was measured"
NOT_COMPARABLE = "Not comparable with the paper"
VERDICTS = "How to read the verdicts"
Sections = tuple[tuple[str, tuple[str, ...]], ...]
_ALPHA_DATA = {
    "batch": "the training batch",
    "val": "validation images",
    "held_out": "images held out of the training set",
}

_RATIO = (
    "Params are the trained parameters, mask decoder included. Ratio is their share of those of "
    "Meta's SAM, as in the paper; with a decoder for several classes it may exceed 100 %."
)


def sections(
    spec: TableSpec,
    study: Study,
    records: Aggregate,
    columns: tuple[Column, ...],
    rows: tuple[Row, ...],
    found: Sequence[Comparison] = (),
) -> Sections:
    """All notes of a table; empty sections are left out.

    Args:
        spec: the table.
        study: the study.
        records: its records.
        columns: those of the table that the study has.
        rows: its filled rows.
        found: the comparison behind each column.
    """
    parts = (
        (LEAKAGE, leakage(study, columns)),
        (WHAT_WAS_RUN, what_was_run(study, records, columns, rows)),
        (
            "About this table",
            [
                *([_RATIO] if spec.parameters else []),
                *spec.notes,
                *(left_out_and_added(spec, columns, rows) if spec.paper else []),
            ],
        ),
        ("What a method must beat", what_to_beat(spec, study, columns, rows, found)),
        (VERDICTS, verdict_rule(columns, rows) if has_verdicts(rows) else []),
        (NOT_COMPARABLE, incomparable(study, records, spec, columns, rows)),
        ("Not done", not_done(columns, rows)),
        ("Records left out", left_out(study, records, columns)),
    )
    return tuple((title, tuple(lines)) for title, lines in parts if lines)


def has_verdicts(rows: Iterable[Row]) -> bool:
    """Whether any number can be compared with the paper's."""
    return any(cell.verdict in DECIDED for row in rows for cell in row.cells)


def what_was_run(
    study: Study, records: Aggregate, columns: tuple[Column, ...], rows: tuple[Row, ...]
) -> list[str]:
    """The study, its model, schedule and images."""
    training, seeds = study.training, ", ".join(map(str, study.seeds))
    tasks = [task for task in study.tasks if task in {column.task for column in columns}]
    size = "the masks' own size" if study.evaluation.size == "native" else "the input's size"
    lines = [
        f"Study `{study.study}`: SAM `{study.sam.backbone}` at {study.sam.image_size} px, "
        f"checkpoint {study.sam.checkpoint}; {study.epochs_text(tasks)} of batches of "
        f"{training.batch_size}; seeds {seeds}; evaluated at {size}."
    ]
    lines.append(
        "The weights after the last epoch are evaluated; no checkpoint is selected on validation "
        "images."
        if training.architecture.data != "val"
        else "The weights after the last epoch are evaluated; validation images train alpha."
    )
    lines += settings_of_runs(study, tasks, rows)
    lines += [
        f"All rows on {task}: {_settings_text({'training': own})}."
        for task, own in study.task_training.items()
        if task in tasks
    ]
    shown = records.runs["task"].isin(tasks) & records.runs["variant"].isin(r.name for r in rows)
    made_by = sorted(set(records.runs.loc[shown, "code"]))
    mixed = " These revisions of the code differ." if len(made_by) > 1 else ""
    lines += [f"Computed by {'; '.join(made_by)}.{mixed}"] if made_by else []
    lines += images_of(study, records, columns)
    lines.append(
        "Values are in percent unless stated otherwise: mean ± sample standard deviation over "
        f"n = {len(study.seeds)} seeds, or over the number that a cell states."
        if len(study.seeds) > 1
        else "Values are in percent unless stated otherwise; of one seed."
    )
    lines.append(
        "Controls predict the same for every image; networks other than SAM are trained from "
        "scratch on the same images with the same steps."
    )
    return lines


def images_of(study: Study, records: Aggregate, columns: tuple[Column, ...]) -> list[str]:
    """How many test images there are, by the kind of images."""
    found: dict[str, list[str]] = {}
    for task, test_set in dict.fromkeys((column.task, column.test_set) for column in columns):
        counts = records.image_counts(task, test_set)
        number = " or ".join(map(str, counts)) if counts else "none"
        kind = (
            "generated"
            if task in study.generated
            else "real, from bundles instead of the official archives"
            if task in study.bundles
            else "real"
        )
        found.setdefault(kind, []).append(f"{task} {test_set} {number}")
    return [f"Test images, {kind}: {', '.join(sets)}." for kind, sets in found.items()]


# For the backbones that were pretrained on generated scenes.
_WHY_SCRATCH = dict.fromkeys(
    ("tiny", "small"),
    "A backbone with few parameters is quickly trained from scratch, and pretraining on generated "
    "scenes helps little where objects do not stand out as shapes.",
)


def settings_of_runs(study: Study, tasks: Sequence[str], rows: tuple[Row, ...]) -> list[str]:
    """How the rows were trained, and how methods and variants differ from their defaults.

    Args:
        study: the study.
        tasks: those of the table.
        rows: of the table.
    """
    training, alpha = study.training, study.training.architecture
    rate = rate_text(training.learning_rate, training.decay_start)
    lines = [
        f"Adam, learning rate {rate}; weight decay {training.weight_decay:g}; horizontal "
        f"flips with probability {training.horizontal_flip:g}; precision {training.precision}."
    ]
    methods = {study.variants[r.name].method if r.name in study.variants else r.name for r in rows}
    if searched := sorted(methods & set(PAPER_CELLS)):
        lines += _cells(study, searched)
        starts = [study.training_of(task).architecture.start_epoch for task in tasks]
        lines.append(
            f"Alpha: T_B = {range_of(starts, 'epoch')} without it, then "
            f"{alpha.alternation.replace('_', '-')}, on {_ALPHA_DATA[alpha.data]}; Adam, learning "
            f"rate {alpha.learning_rate:g}, weight decay {alpha.weight_decay:g}."
        )
    changed = {
        name: study.method_settings[name] for name in methods if study.method_settings.get(name)
    }
    lines += [f"{name} with {_settings_text(own)}." for name, own in sorted(changed.items())]
    for row in rows:
        if variant := study.variants.get(row.name):
            own = {
                **variant.settings,
                **({"training": variant.training} if variant.training else {}),
            }
            lines.append(f"Row `{row.title}`: {variant.method} with {_settings_text(own)}.")
    lines.append("All other settings of methods are their defaults.")
    return lines


def _cells(study: Study, methods: list[str]) -> list[str]:
    """Which of the two readings of the paper's cell the rows of NAS-LoRA use."""
    darts = [m for m in methods if study.method_settings.get(m) == PAPER_COUNT]
    linear = [m for m in methods if not study.method_settings.get(m)]
    lines = []
    if darts:
        lines.append(
            f"{' and '.join(darts)}: cells on q and on v with the operations of DARTS, which have "
            "the paper's parameter counts."
        )
    if linear:
        lines.append(
            f"{' and '.join(linear)}: linear cells on the fused qkv, which merge. The paper's "
            "counts, 4.016 M and 4.009 M on ViT-H, are those of cells on q and on v with the "
            "operations of DARTS; linear ones give 4.005 M and 4.002 M."
        )
    return lines


def left_out_and_added(
    spec: TableSpec, columns: tuple[Column, ...], rows: tuple[Row, ...]
) -> list[str]:
    """The columns and rows of the paper's table that the study leaves out, and those it adds."""
    known = {row.printed for row in rows}
    parts = (
        (
            "Columns of the paper that this study does not run",
            [column.title for column in spec.columns if column not in columns],
        ),
        (
            "Rows of the paper that this study does not run",
            [name for name in spec.printed_rows if name not in known],
        ),
        (
            "Rows that the paper's table does not have",
            [row.title for row in rows if row.kind == "method" and row.printed is None],
        ),
    )
    return [f"{what}: {', '.join(names)}." for what, names in parts if names]


def verdict_rule(columns: tuple[Column, ...], rows: tuple[Row, ...]) -> list[str]:
    """When a number counts as reproduced."""
    others = {f"{c.widest:g} for {c.metric}": None for c in columns if c.widest != WIDEST}
    widest = ", ".join((f"{WIDEST:g}", *others))
    lines = [
        "Reproduced (=): the paper's number lies in the two-sided 95 % t-interval of our mean, "
        "widened by half a unit of its last printed digit; differs (≠): it lies outside. "
        "Undecided (?): it lies inside, but half of the interval is wider than "
        f"{widest}. A number without a sign cannot be compared."
    ]
    if any(row.kind == "cited" for row in rows):
        lines.append("Rows marked as cited are numbers that the paper took from elsewhere.")
    return lines


def incomparable(
    study: Study,
    records: Aggregate,
    spec: TableSpec,
    columns: tuple[Column, ...],
    rows: tuple[Row, ...],
) -> list[str]:
    """The reasons why numbers cannot be compared with the paper's, each once."""
    if not spec.paper or not any(row.printed for row in rows):
        return []
    by_task = {task: why_not_comparable(study, task) for task in {c.task: None for c in columns}}
    shared = [
        reason
        for reason in next(iter(by_task.values()), [])
        if all(reason in reasons for reasons in by_task.values())
    ]
    lines = [f"No column is comparable: {'; '.join(shared)}."] if shared else []
    if len(study.seeds) < 2:
        lines.append("No column is comparable: a verdict needs at least two seeds.")
    for task, reasons in by_task.items():
        own = [reason for reason in reasons if reason not in shared]
        for column in (c for c in columns if c.task == task and not same_images(records, c)):
            expected = " or ".join(map(str, column.test_images))
            there = " or ".join(map(str, records.image_counts(task, *column.sets_counted)))
            own.append(f"{' and '.join(column.sets_counted)} has {there} images, not {expected}")
        if own:
            lines.append(f"{task} is not comparable: {'; '.join(dict.fromkeys(own))}.")
    return lines + [
        f"{row.title} is not the paper's row: {'; '.join(row.remarks)}."
        for row in rows
        if row.printed and row.remarks
    ]


def what_to_beat(
    spec: TableSpec,
    study: Study,
    columns: tuple[Column, ...],
    rows: tuple[Row, ...],
    found: Sequence[Comparison],
) -> list[str]:
    """The best control and network of each column, rows that beat none, and scratch if ahead."""
    if not found:
        return []
    lines = [
        "A row is better than another where both intervals of the difference of their means "
        "exclude zero: over seeds (t, with the variance pooled over the methods that adapt; "
        "against a network Welch's t, which needs more seeds) and over test images (bootstrap). "
        "The level is 5 %. A row is no better than another if it is better in none of the columns"
        + (" with the main metric of a task." if spec.main_metrics else "."),
        *_best(_BEST_CONTROL, "control", columns, rows, found),
        *_best(_BEST_NETWORK, "network", columns, rows, found),
    ]
    missing = [
        column.title
        for column, one in zip(columns, found, strict=False)
        if best_of("control", one, rows) is None
    ]
    if missing:
        lines.append(f"No control is evaluated: {', '.join(missing)}.")
    lines += [f"{row.title}: {row.standing}." for row in rows if row.standing]
    if ahead := behind_scratch(columns, rows, found):
        lines.append(
            "SAM (scratch) is better than the median of the methods that adapt: "
            f"{', '.join(ahead)}. {_WHY_SCRATCH.get(study.sam.backbone, '')}".strip()
        )
    return lines


_BEST_CONTROL = "Best prediction that does not use the image"
_BEST_NETWORK = "Best network trained from scratch"


def _best(
    what: str,
    kind: RowKind,
    columns: tuple[Column, ...],
    rows: tuple[Row, ...],
    found: Sequence[Comparison],
) -> list[str]:
    """For each row that is the best of its kind somewhere, the columns and its means there."""
    best: dict[str, list[str]] = {}
    for column, comparison in zip(columns, found, strict=False):
        row = best_of(kind, comparison, rows)
        if row is not None:
            value = f"{comparison.means[row.name]:.{column.decimals}f}"
            best.setdefault(row.title, []).append(f"{column.title} {value}")
    return [f"{what}: {title}: {', '.join(values)}." for title, values in best.items()]


def not_done(columns: tuple[Column, ...], rows: tuple[Row, ...]) -> list[str]:
    """The rows whose seeds are not all done, and in which columns, if not in all."""
    alike: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for row in (row for row in rows if row.kind != "cited"):
        by_status: dict[str, list[str]] = {}
        for column, cell in zip(columns, row.cells, strict=True):
            if cell.status != "done":
                by_status.setdefault(cell.status, []).append(column.title)
        for status, titles in by_status.items():
            alike.setdefault((status, tuple(titles)), []).append(row.title)
    return [
        f"{', '.join(names)}: {status}"
        + (f" in {', '.join(titles)}." if len(titles) < len(columns) else ".")
        for (status, titles), names in alike.items()
    ]


def left_out(study: Study, records: Aggregate, columns: tuple[Column, ...]) -> list[str]:
    """The records of these tasks that could not be used, by their place in the study's folder."""
    layout, tasks = Layout.of(study), {column.task for column in columns}
    return [
        f"{problem.line(layout.root)}."
        for problem in records.problems
        if problem.path.relative_to(layout.records).parts[0] in tasks
    ]


def _settings_text(settings: Mapping[str, Any]) -> str:
    return "; ".join(f"{name} {value}" for name, value in flat(settings).items())
