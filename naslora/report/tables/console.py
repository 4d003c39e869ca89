"""The results of a study on a terminal: the main metric of every test set, by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from naslora.report.tables.cells import Cell
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
    plain, spread = (_blocks(table, console.width, spread=spread) for spread in (False, True))
    with_spread = len(spread) == len(plain)
    for number, block in enumerate(spread if with_spread else plain):
        title = f"Study {study.study}" if not number else None
        console.print(_grid(table, block, title, spread=with_spread))
    styled = console.is_terminal and console.color_system is not None
    lines = mark_notes(table, styled=styled, second="underlined")
    if with_spread and _any_spread(table):
        lines.append("±: standard deviation over seeds.")
    lines += [f"{row.title}: {row.standing}." for row in table.methods if row.standing]
    lines.append(first_sentence(rank(study, records), records))
    if records.problems:
        lines.append(f"Records left out: {len(records.problems)}; see tables/status.md.")
    for line in lines:
        console.print(Text(line))


def _grid(table: Table, block: Sequence[int], title: str | None, *, spread: bool) -> Grid:
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(title=title, title_justify="left", box=None, pad_edge=False)
    grid.add_column(Text(table.heading), no_wrap=True)
    for index in block:
        grid.add_column(Text("\n".join(_heading(table.columns[index]))), justify="right")
    for row in (*table.controls, *table.methods):
        cells = [Text(row.title, style="" if row.kind == "method" else "italic")]
        for index in block:
            text = _score(row.cells[index], table.columns[index], spread=spread)
            mark = table.marks(index).get(row.name, "")
            flag = flags(row, index).ljust(2)
            cells.append(Text(text, style=_STYLES.get(mark, "")) + Text(flag))
        grid.add_row(*cells)
    return grid


def _score(cell: Cell, column: Column, *, spread: bool) -> str:
    """`91.2`, or with its standard deviation `91.2 ± 0.3`; a dash for no value."""
    if cell.value is None:
        return DASH
    text = f"{cell.value:.{column.decimals}f}"
    return f"{text} ± {cell.std:.{column.decimals}f}" if spread and cell.std is not None else text


def _any_spread(table: Table) -> bool:
    return any(cell.std is not None for row in table.rows for cell in row.cells)


def _heading(column: Column) -> list[str]:
    *words, last = column.short.split()
    return [*column.head.split(), *words, f"{last} {column.arrow}"]


def _blocks(table: Table, width: int, *, spread: bool) -> list[list[int]]:
    """Indices of the columns that fit side by side, with standard deviations or without."""
    shown = (*table.controls, *table.methods)
    front = max(len(row.title) for row in table.rows)
    blocks: list[list[int]] = [[]]
    used = front
    for index, column in enumerate(table.columns):
        scores = (len(_score(row.cells[index], column, spread=spread)) + 1 for row in shown)
        needed = 2 + max(7, *map(len, _heading(column)), *scores)
        if blocks[-1] and used + needed > width:
            blocks.append([])
            used = front
        blocks[-1].append(index)
        used += needed
    return blocks
