"""Significant differences in a table: between its rows, to the controls, and to networks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from naslora.core.wording import joined
from naslora.paper.published import NOT_PEFT
from naslora.report.tables.model import Column, Mark, Row, RowKind, Table
from naslora.results.comparison import Comparison, Comparisons
from naslora.results.difference import Difference

DECODER = "decoder_only"
SCRATCH = "scratch"
DAGGER, DOUBLE_DAGGER = "\N{DAGGER}", "\N{DOUBLE DAGGER}"


def compared(columns: Sequence[Column], comparisons: Comparisons) -> list[Comparison]:
    """The comparison behind each column."""
    return [comparisons.of(column.task, column.test_set, column.metric) for column in columns]


def best_and_second(comparison: Comparison, rows: Sequence[Row]) -> Mapping[str, Mark]:
    """The best ranked row and the second, where they are significantly better than all others.

    The two may not differ significantly from each other. Of only two rows, the best is marked
    where it is significantly better. The level of 5 % is shared among the comparisons of a row.
    """
    means = comparison.means
    ranked = [row.name for row in rows if row.ranked and row.name in means]
    order = sorted(ranked, key=lambda name: comparison.name.sign * means[name], reverse=True)
    rest = order[2:] or order[1:]

    def beats_rest(name: str) -> bool:
        found = [comparison.difference(name, other) for other in rest]
        return all(
            one is not None and one.seeds_error is not None and one.significant_sign(len(rest)) > 0
            for one in found
        )

    marks: dict[str, Mark] = {}
    if rest and beats_rest(order[0]):
        marks[order[0]] = "best"
    if len(order) > 2 and beats_rest(order[1]):
        marks[order[1]] = "second"
    return marks


def best_of(kind: RowKind, comparison: Comparison, rows: Sequence[Row]) -> Row | None:
    """The row of a kind with the best mean; None where none has one.

    Args:
        kind: `control` for predictions that do not use the image; `network` for networks other than
            SAM, which are trained from scratch.
        comparison: of a column.
        rows: of the table.
    """
    means = comparison.means
    found = [row for row in rows if row.kind == kind and row.name in means]
    return max(found, key=lambda row: comparison.name.sign * means[row.name], default=None)


def with_standing(
    rows: Sequence[Row], found: Sequence[Comparison], *, main_metrics: bool = False
) -> tuple[Row, ...]:
    """The rows, with remarks on those that are no better than what they must beat.

    In a column, a row is no better than the best control, or the best network, unless it is
    significantly better, at 5 %. As a whole, it is no better if this is so in all of its columns;
    against a network, this is not said where the test images show an advantage and only the seeds
    are too few. A parameter-efficient method must also beat the mask decoder alone.

    Args:
        rows: of the table.
        found: the comparison behind each column.
        main_metrics: whether only the columns with the main metric of their task decide on a row as
            a whole.
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


def mark_notes(
    table: Table, *, styled: bool = True, second: str = "italic or underlined"
) -> list[str]:
    """Sentences on the meaning of the marks that the table has.

    Args:
        table: the table.
        styled: whether the output can show bold text.
        second: the style of the second-best row in it.
    """
    notes = []
    unranked = [row.title for row in table.methods if not row.ranked and row.kind == "method"]
    if styled and any(table.marks(index) for index in range(len(table.columns))):
        notes.append(
            f"Bold: the best parameter-efficient row, {second}: the second, where they are "
            "significantly better than all such rows from the third on."
            + (f" {joined(unranked)}: trained as a whole, so not ranked." if unranked else "")
        )
    elif styled and table.methods and table.marked:
        notes.append(
            "Nothing is bold: no best parameter-efficient row is significantly better than the "
            "others."
        )
    if any(row.no_better for row in table.rows):
        notes.append(
            f"{DAGGER}: not significantly better than the best prediction that does not use the "
            "image."
        )
    return notes + _network_notes(table)


def flags(row: Row, index: int) -> str:
    """The daggers of a row in a column, if any."""
    control = DAGGER if index in row.no_better else ""
    return control + (DOUBLE_DAGGER if index in row.behind_network else "")


def _network_notes(table: Table) -> list[str]:
    """The meaning of the double dagger, and how many of them more seeds might remove."""
    cells = [row.cells[index] for row in table.rows for index in row.behind_network]
    if not cells:
        return []
    names = ", ".join(row.title for row in table.rows if row.kind == "network")
    notes = [
        f"{DOUBLE_DAGGER}: not significantly better than the best network trained from scratch"
        f" ({names})."
    ]
    if few := sum(len(row.few_seeds) for row in table.rows):
        seeds = max(cell.n for cell in cells)
        notes.append(
            f"In {few} of the {len(cells)} cells with {DOUBLE_DAGGER} the test images show an"
            f" advantage over the network, but {seeds} seeds are too few to tell: a network varies"
            " more from seed to seed, and Welch's t-test then has few degrees of freedom."
        )
    return notes


def _with_standing(
    row: Row, rows: Sequence[Row], found: Sequence[Comparison], decide: Sequence[bool]
) -> Row:
    there = [index for index, one in enumerate(found) if row.name in one.means]
    deciding = [index for index in there if decide[index]]
    if row.kind != "method" or not there:
        return row
    controls, networks = (
        _differences(row, kind, rows, found, there) for kind in ("control", "network")
    )
    texts = []
    if _is_no_better_than_the_decoder(row, [found[index] for index in deciding]):
        texts.append("no better than the mask decoder alone")
    for differences in (controls, networks):
        judged = [differences[index] for index in deciding if index in differences]
        if judged and not any(_may_beat(*one) for one in judged):
            title = Counter(other.title for other, _ in judged).most_common(1)[0][0]
            texts.append(f"no better than {_in_a_sentence(title)}")
    return replace(
        row,
        standing="; ".join(texts),
        no_better=_not_better(controls),
        behind_network=_not_better(networks),
        few_seeds=frozenset(i for i, (_, one) in networks.items() if _lacks_seeds(one)),
    )


def _differences(
    row: Row, kind: RowKind, rows: Sequence[Row], found: Sequence[Comparison], there: Sequence[int]
) -> dict[int, tuple[Row, Difference]]:
    """By column, the best row of a kind and the difference from it, where there is one."""
    differences = {}
    for index in there:
        other = best_of(kind, found[index], rows)
        difference = found[index].difference(row.name, other.name) if other else None
        if other is not None and difference is not None:
            differences[index] = (other, difference)
    return differences


def _not_better(differences: Mapping[int, tuple[Row, Difference]]) -> frozenset[int]:
    return frozenset(i for i, (_, one) in differences.items() if one.significant_sign() <= 0)


def _may_beat(other: Row, difference: Difference) -> bool:
    """Whether a row is better than another; against a network, also if too few seeds show it."""
    return difference.significant_sign() > 0 or (
        other.kind == "network" and _lacks_seeds(difference)
    )


def _lacks_seeds(difference: Difference) -> bool:
    """Whether an advantage is significant over test images, but not over seeds."""
    seeds, images = difference.over_seeds(), difference.over_images()
    return seeds is not None and images is not None and seeds[0] <= 0 < images[0]


def _is_no_better_than_the_decoder(row: Row, found: Sequence[Comparison]) -> bool:
    if row.name == DECODER or row.name in NOT_PEFT or not row.ranked:
        return False
    differences = [one.difference(row.name, DECODER) for one in found]
    known = [one for one in differences if one is not None]
    return bool(known) and all(one.significant_sign() <= 0 for one in known)


def _in_a_sentence(title: str) -> str:
    """A control's title within a sentence: names keep their capitals."""
    return title if title[1:2] in ("-", "") or title[1].isupper() else title[0].lower() + title[1:]
