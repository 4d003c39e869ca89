"""The sentences under a table: what was run, by which rule, and how it stands."""

from __future__ import annotations

from collections.abc import Iterable

from naslora.layout import Layout
from naslora.records import CONTROLS
from naslora.report.aggregate import Aggregate
from naslora.report.cells import WIDEST, Cell
from naslora.report.tables import Column, Row, image_counts, why_not_comparable
from naslora.settings import Study

Sections = tuple[tuple[str, tuple[str, ...]], ...]


def sections(
    study: Study, records: Aggregate, columns: tuple[Column, ...], rows: tuple[Row, ...]
) -> Sections:
    """All notes of a table of methods; empty sections are left out."""
    parts = (
        ("What was run", what_was_run(study, records, columns)),
        ("How the methods stand against the controls", against_controls(columns, rows)),
        ("How to read the verdicts", verdict_rule(study, records, columns)),
        ("Not done", not_done(columns, rows)),
        ("Records left out", left_out(study, records)),
    )
    return tuple((title, tuple(lines)) for title, lines in parts if lines)


def what_was_run(study: Study, records: Aggregate, columns: tuple[Column, ...]) -> list[str]:
    """The study, its model, schedule and images."""
    training, seeds = study.training, ", ".join(map(str, study.seeds))
    size = "the masks' own size" if study.evaluation.size == "native" else "the input's size"
    lines = [
        f"Study `{study.study}`: SAM `{study.sam.backbone}` at {study.sam.image_size} px, "
        f"checkpoint {study.sam.checkpoint}; {training.epochs} epochs of batches of "
        f"{training.batch_size}; seeds {seeds}; evaluated at {size}."
    ]
    lines.append(
        "The weights after the last epoch are evaluated; validation images choose nothing."
        if training.architecture.data != "val"
        else "The weights after the last epoch are evaluated; validation images train alpha."
    )
    made_by = sorted(set(records.runs["code"]))
    mixed = " Records of different code are mixed here." if len(made_by) > 1 else ""
    lines += [f"Computed by {'; '.join(made_by)}.{mixed}"] if made_by else []
    for task, test_set in dict.fromkeys((column.task, column.test_set) for column in columns):
        counts = image_counts(records, task, test_set)
        number = " or ".join(map(str, counts)) if counts else "no"
        kind = "generated" if task in study.generated else "real"
        lines.append(f"{task}, {test_set}: {number} evaluated images, {kind}.")
    lines.append(
        f"Values are percent: mean ± sample standard deviation over n = {len(study.seeds)} seeds, "
        "or as many as a cell says. The controls answer every image alike: nothing, or the mean "
        "of the training masks."
    )
    return lines


def verdict_rule(study: Study, records: Aggregate, columns: tuple[Column, ...]) -> list[str]:
    """When a number counts as reproduced, and why it may not be comparable here."""
    lines = [
        "Reproduced (=): the paper's number lies in the two-sided 95 % t-interval of our mean, "
        "widened by half a unit of its last printed digit; differs (≠): it lies outside. "
        f"Undecided (?): it lies inside, but the interval reaches further than ±{WIDEST:g}. "
        "Not comparable (n/c): the setting is not the paper's, or there are fewer than two seeds."
    ]
    reasons: dict[str, list[str]] = {}
    for column in columns:
        why = why_not_comparable(study, column.task)
        counts = image_counts(records, column.task, column.test_set)
        if any(count not in column.test_images for count in counts):
            expected = " or ".join(map(str, column.test_images))
            found = " or ".join(map(str, counts))
            why.append(f"{column.test_set} has {found} images, not {expected}")
        if why and (text := "; ".join(why)) not in reasons.setdefault(column.task, []):
            reasons[column.task].append(text)
    lines += [f"{task} is not comparable: {'; '.join(why)}." for task, why in reasons.items()]
    return lines


def against_controls(columns: tuple[Column, ...], rows: tuple[Row, ...]) -> list[str]:
    """For each column, which methods are better than the better control, and which are not."""
    lines = [
        "Better or worse: the control lies outside the 95 % t-interval of the method's mean (with "
        "one seed: the value alone decides). The better of the two controls counts."
    ]
    for index, column in enumerate(columns):
        sign = 1 if column.higher_is_better else -1
        controls = {
            row.title: mean
            for row in rows
            if row.control and (mean := row.cells[index].mean) is not None
        }
        if len(controls) < len(CONTROLS):
            lines.append(f"{column.title}: not told, for a control is missing.")
            continue
        best = max(controls, key=lambda title: sign * controls[title])
        groups: dict[str, list[str]] = {"better": [], "not told apart": [], "worse": []}
        for row in rows:
            if not row.control and row.cells[index].n:
                groups[_standing(row.cells[index], controls[best], sign)].append(row.title)
        told = "; ".join(f"{key}: {', '.join(titles)}" for key, titles in groups.items() if titles)
        lines.append(
            f"{column.title}, against the {best.lower()} ({controls[best]:.{column.decimals}f}): "
            f"{told or 'no method is evaluated'}."
        )
    return lines


def not_done(columns: tuple[Column, ...], rows: tuple[Row, ...]) -> list[str]:
    """The cells whose seeds are not all done."""
    lines = []
    for row in rows:
        by_status: dict[str, list[str]] = {}
        for column, cell in zip(columns, row.cells, strict=True):
            if cell.status != "done":
                by_status.setdefault(cell.status, []).append(column.title)
        lines += [f"{row.title}: {', '.join(on)}: {status}." for status, on in by_status.items()]
    return lines


def left_out(study: Study, records: Aggregate) -> Iterable[str]:
    """The records that could not be used, by their place in the study's folder."""
    root = Layout.of(study).root
    return [
        f"`{problem.path.relative_to(root).as_posix()}`: {problem.message}."
        for problem in records.problems
    ]


def _standing(cell: Cell, control: float, sign: int) -> str:
    assert cell.mean is not None
    lead = sign * (cell.mean - control)
    if abs(lead) <= (cell.half_width or 0):
        return "not told apart"
    return "better" if lead > 0 else "worse"
