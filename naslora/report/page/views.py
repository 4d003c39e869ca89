"""Tables and the state of runs, in the form that the report's template takes."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from naslora.report.page.runs import group_anchor
from naslora.report.tables.cells import Cell
from naslora.report.tables.leakage import LEAKAGE
from naslora.report.tables.markdown import DASH
from naslora.report.tables.model import Column, Mark, Row, Table
from naslora.report.tables.standing import flags, mark_notes
from naslora.report.tables.status import run_counts
from naslora.report.tables.table5 import SEARCHING
from naslora.report.tables.writers import paper_text, value_text
from naslora.results.aggregate import Aggregate
from naslora.study.records import CONTROLS
from naslora.study.settings import Study

_NO_BREAK = "\N{NO-BREAK SPACE}"
COUNT = "count"  # the style of parameter counts, which are hidden on small screens


@dataclass(frozen=True)
class CellView:
    """A cell: its text, a smaller text below, its task, and the name of its style.

    `link` is the fragment of the runs behind the number.
    """

    text: str
    paper: str = ""
    task: str = ""
    kind: str = ""
    link: str = ""


@dataclass(frozen=True)
class RowView:
    """A row; `name` is its method in the report's filter."""

    name: str
    kind: str
    cells: tuple[CellView, ...]


@dataclass(frozen=True)
class TableView:
    """A table with its notes.

    `label` is its number, or its title where it has none; `warnings` and `marks` are sentences that
    always show; `notes` are titled lists of sentences.
    """

    name: str
    label: str
    title: str
    header: tuple[CellView, ...]
    rows: tuple[RowView, ...]
    warnings: tuple[str, ...]
    marks: tuple[str, ...]
    notes: tuple[tuple[str, tuple[str, ...]], ...]


def method_of(study: Study, name: str) -> str:
    """The method that a row's name stands for; empty for a control or a cited row."""
    if name in study.variants:
        return study.variants[name].method
    method = name.removesuffix(SEARCHING)
    return method if method in study.methods else ""


def table_view(study: Study, table: Table, runs: Collection[str] = ()) -> TableView:
    """A table: our value, and below it the paper's with difference and verdict.

    Args:
        study: the study.
        table: one of its tables.
        runs: fragments of the runs that the report shows, for links from cells.
    """
    parameters = ("Params (M)", "Ratio (%)") if table.parameters else ()
    header = [CellView(table.heading), *(CellView(text, kind=COUNT) for text in parameters)]
    header += [CellView(f"{c.title}{_NO_BREAK}{c.arrow}", task=c.task) for c in table.columns]
    marks = [table.marks(index) for index in range(len(table.columns))]
    return TableView(
        name=table.name,
        label=re.split("[:;]", table.title)[0],
        title=table.title,
        header=tuple(header),
        rows=tuple(_row(study, row, table, marks, runs) for row in table.rows),
        warnings=dict(table.sections).get(LEAKAGE, ()),
        marks=tuple(mark_notes(table)),
        notes=tuple(part for part in table.sections if part[0] != LEAKAGE),
    )


def _row(
    study: Study,
    row: Row,
    table: Table,
    marks: list[Mapping[str, Mark]],
    runs: Collection[str],
) -> RowView:
    title = f"{row.title} (cited)" if row.kind == "cited" else row.title
    cells = [CellView(title, row.standing)]
    if table.parameters:
        for ours, printed, digits in (
            (row.params_m, row.printed_params, 3),
            (row.ratio, row.printed_ratio, 2),
        ):
            text = DASH if ours is None else f"{ours:.{digits}f}"
            paper = f"paper {printed.text}" if printed else ""
            cells.append(CellView(text, paper, kind=COUNT))
    for index, (cell, column) in enumerate(zip(row.cells, table.columns, strict=True)):
        view = _cell(row, cell, column, marks[index].get(row.name, ""))
        link = group_anchor(column.task, row.name)
        flag = f" {found}" if (found := flags(row, index)) else ""
        cells.append(replace(view, text=view.text + flag, link=link if link in runs else ""))
    return RowView(method_of(study, row.name), row.kind, tuple(cells))


def _cell(row: Row, cell: Cell, column: Column, mark: str) -> CellView:
    paper = "" if cell.printed is None else f"paper {paper_text(cell, column)}"
    text = "" if row.kind == "cited" else value_text(cell, column)
    return CellView(text, paper, column.task, mark)


def status_view(study: Study, records: Aggregate) -> list[RowView]:
    """How many of the planned runs of each row and task are done, and the status of the others."""
    found = {(one.task, one.variant): one for one in run_counts(study, records)}
    rows = []
    for name in (*CONTROLS, *study.run_names()):
        cells = []
        title = name
        for task in study.tasks:
            one = found.get((task, name))
            if one is None:
                cells.append(CellView("", task=task))
                continue
            title = one.title
            done = one.counts["done"]
            kind = "all" if done == one.planned else "some" if done else "none"
            cells.append(CellView(one.text, task=task, kind=kind))
        rows.append(RowView(method_of(study, name), "", (CellView(title), *cells)))
    return rows
