"""The results of a study on a terminal: the main metric of every test set, by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from naslora.report.tables.markdown import DASH
from naslora.report.tables.model import Column, Table
from naslora.report.tables.overview import overview
from naslora.report.tables.ranking import first_sentence
from naslora.report.tables.standing import flags, mark_notes
from naslora.results.aggregate import Aggregate
from naslora.results.ranking import rank
from naslora.study.settings import Study

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as Grid

_STYLES = {"best": "bold", "second": "underline"}


def print_results(study: Study, records: Aggregate, console: Console) -> None:
    """Print one score per test set and row, the rows that beat no control, and the leading method.

    Nothing is printed where no run is done.

    Raises:
        RecordError: the per-image metrics of a record cannot be read.
    """
    if not (records.runs["status"] == "done").any():
        return
    from rich.text import Text

    from naslora.report.tables.filling import fill

    table = fill(overview(study), study, records)
    for number, block in enumerate(_blocks(table, console.width)):
        console.print(_grid(table, block, f"Study {study.study}" if not number else None))
    lines = mark_notes(table)
    lines += [f"{row.title}: {row.standing}." for row in table.methods if row.standing]
    lines.append(first_sentence(rank(study, records), records))
    if records.problems:
        lines.append(f"Records left out: {len(records.problems)}; see tables/status.md.")
    for line in lines:
        console.print(Text(line))


def _grid(table: Table, block: Sequence[int], title: str | None) -> Grid:
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(title=title, title_justify="left", box=None, pad_edge=False)
    grid.add_column(Text(table.heading), no_wrap=True)
    for index in block:
        grid.add_column(Text("\n".join(_heading(table.columns[index]))), justify="right")
    for row in (*table.controls, *table.methods):
        cells = [Text(row.title, style="" if row.kind == "method" else "italic")]
        for index in block:
            cell, column = row.cells[index], table.columns[index]
            text = DASH if cell.value is None else f"{cell.value:.{column.decimals}f}"
            mark = table.marks(index).get(row.name, "")
            flag = flags(row, index).ljust(2)
            cells.append(Text(text, style=_STYLES.get(mark, "")) + Text(flag))
        grid.add_row(*cells)
    return grid


def _heading(column: Column) -> list[str]:
    *words, last = column.short.split()
    return [*column.head.split(), *words, f"{last} {column.arrow}"]


def _blocks(table: Table, width: int) -> list[list[int]]:
    """Places of the columns that fit side by side."""
    front = max(len(row.title) for row in table.rows)
    blocks: list[list[int]] = [[]]
    used = front
    for index, column in enumerate(table.columns):
        needed = 2 + max(7, *map(len, _heading(column)))
        if blocks[-1] and used + needed > width:
            blocks.append([])
            used = front
        blocks[-1].append(index)
        used += needed
    return blocks
