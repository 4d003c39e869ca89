"""Significant differences in a table: between its rows, and to the controls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from naslora.paper.published import NOT_PEFT
from naslora.report.tables.model import Column, Mark, Row, Table
from naslora.results.comparison import Comparison, Comparisons

DECODER = "decoder_only"
SCRATCH = "scratch"
DAGGER = "\N{DAGGER}"


def compared(columns: Sequence[Column], comparisons: Comparisons) -> list[Comparison]:
    """The comparison behind each column."""
    return [comparisons.of(column.task, column.test_set, column.metric) for column in columns]


def best_and_second(comparison: Comparison, rows: Sequence[Row]) -> Mapping[str, Mark]:
    """The best row and the second, where they are significantly better than all rows below them.

    The two may not differ significantly from each other. Of only two rows, the best is marked
    where it is significantly better. The level of 5 % is shared among the comparisons of a row.
    """
    means = comparison.means
    ranked = [row.name for row in rows if row.ranked and row.name in means]
    order = sorted(ranked, key=lambda name: comparison.name.sign * means[name], reverse=True)
    rest = order[2:] or order[1:]

    def is_told(name: str) -> bool:
        found = [comparison.difference(name, other) for other in rest]
        return all(
            one is not None and one.seeds_error is not None and one.significant_sign(len(rest)) > 0
            for one in found
        )

    marks: dict[str, Mark] = {}
    if rest and is_told(order[0]):
        marks[order[0]] = "best"
    if len(order) > 2 and is_told(order[1]):
        marks[order[1]] = "second"
    return marks


def best_control(comparison: Comparison, rows: Sequence[Row]) -> Row | None:
    """The control or network with the best mean; None where none has one."""
    means = comparison.means
    found = [row for row in rows if row.kind in ("control", "network") and row.name in means]
    return max(found, key=lambda row: comparison.name.sign * means[row.name], default=None)


def with_standing(
    rows: Sequence[Row], found: Sequence[Comparison], *, main_metrics: bool = False
) -> tuple[Row, ...]:
    """The rows, with remarks on those that are no better than the controls.

    In a column, a row is no better than the best control unless it is significantly better. As a
    whole, it is no better than a control if it is significantly better in none of its columns,
    which share the level of 5 %. A parameter-efficient method must beat the mask decoder alone,
    too.

    Args:
        rows: of the table.
        found: the comparison behind each column.
        main_metrics: of the columns, those with the main metric of their task alone decide on a row
            as a whole.
    """
    decide = [not main_metrics or one.is_main for one in found]
    return tuple(_with_standing(row, rows, found, decide) for row in rows)


def behind_scratch(
    columns: Sequence[Column], rows: Sequence[Row], found: Sequence[Comparison]
) -> list[str]:
    """The columns in which the SAM from scratch is better than the median method that adapts."""
    adapting = [r.name for r in rows if r.kind == "method" and r.ranked and r.name not in NOT_PEFT]
    titles = []
    for column, one in zip(columns, found, strict=False):
        means = one.means.reindex(adapting).dropna()
        if SCRATCH in one.means and len(means):
            gain = one.name.sign * (one.means[SCRATCH] - means.median())
            titles += [column.title] if gain > 0 else []
    return titles


def mark_notes(table: Table, *, styled: bool = True) -> list[str]:
    """Sentences on the meaning of the marks that the table has.

    Args:
        table: the table.
        styled: whether it is shown where text can be bold.
    """
    notes = []
    if styled and any(table.marks(index) for index in range(len(table.columns))):
        notes.append(
            "Bold: the best, italic or underlined: the second, where they differ significantly "
            "from all rows below them."
        )
    elif styled and table.methods and table.marked:
        notes.append("Nothing is bold: no best row is significantly better than the rows below it.")
    if any(row.no_better for row in table.rows):
        notes.append(f"{DAGGER}: not significantly better than the best control of the column.")
    return notes


def _with_standing(
    row: Row, rows: Sequence[Row], found: Sequence[Comparison], decide: Sequence[bool]
) -> Row:
    there = [index for index, one in enumerate(found) if row.name in one.means]
    deciding = [index for index in there if decide[index]]
    if row.kind != "method" or not there:
        return row
    no_better: set[int] = set()
    beats, against = 0, Counter[str]()
    for index in there:
        control = best_control(found[index], rows)
        difference = found[index].difference(row.name, control.name) if control else None
        if control is None or difference is None:
            continue
        if decide[index]:
            against[control.title] += 1
            beats += difference.significant_sign(len(deciding)) > 0
        if difference.significant_sign() <= 0:
            no_better.add(index)
    texts = []
    if _is_no_better_than_the_decoder(row, [found[index] for index in deciding]):
        texts.append("no better than the mask decoder alone")
    if against and not beats:
        texts.append(f"no better than {_in_a_sentence(against.most_common(1)[0][0])}")
    return replace(row, standing="; ".join(texts), no_better=frozenset(no_better))


def _is_no_better_than_the_decoder(row: Row, found: Sequence[Comparison]) -> bool:
    if row.name == DECODER or row.name in NOT_PEFT or not row.ranked:
        return False
    differences = [one.difference(row.name, DECODER) for one in found]
    known = [one for one in differences if one is not None]
    return bool(known) and all(one.significant_sign(len(known)) <= 0 for one in known)


def _in_a_sentence(title: str) -> str:
    """A control's title within a sentence: names keep their capitals."""
    return title if title[1:2] in ("-", "") or title[1].isupper() else title[0].lower() + title[1:]
