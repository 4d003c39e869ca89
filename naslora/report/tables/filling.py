"""Filling tables from records: the runs of each row, and the status of their seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from naslora.core.wording import joined
from naslora.paper.published import NOT_PEFT, Printed, columns, printed
from naslora.report.tables.cells import CITED, NOT_PLANNED, Cell
from naslora.report.tables.comparability import same_images, why_not_comparable
from naslora.report.tables.model import Column, Row, RowSpec, Table, TableSpec, run_title
from naslora.report.tables.notes import sections
from naslora.report.tables.standing import best_and_second, compared, with_standing
from naslora.report.tables.writers import write_table
from naslora.results.aggregate import Aggregate
from naslora.study.layout import Layout
from naslora.study.records import CONTROLS
from naslora.study.settings import Study


def fill(spec: TableSpec, study: Study, records: Aggregate) -> Table:
    """Make a table for the study's tasks and rows.

    The rows are controls, networks, rows that the paper cites, then methods and variants. A table
    that the paper does not print has no columns for test sets without images.

    Raises:
        RecordError: the per-image metrics of a record cannot be read.
    """
    chosen = spec.columns_of(study)
    if not spec.paper:
        empty = [one for one in chosen if not records.has_images(one.task, one.test_set)]
        chosen = tuple(column for column in chosen if column not in empty)
        if empty:
            titles = joined([column.title for column in empty])
            note = f"This study's data have no images for {titles}."
            spec = replace(spec, notes=(*spec.notes, note))
    found = compared(chosen, records.comparisons)
    tasks = {column.task for column in chosen}
    networks = [RowSpec(name, None) for name in study.networks if tasks & set(study.tasks_of(name))]
    rows = (
        *(_control(name, records, chosen) for name in CONTROLS),
        *(
            replace(_run(row, spec, study, records, chosen), kind="network", ranked=False)
            for row in networks
        ),
        *(_cited(row, spec, chosen) for row in spec.cited),
        *(_run(row, spec, study, records, chosen) for row in spec.rows_of(study)),
    )
    rows = with_standing(rows, found, main_metrics=spec.main_metrics)
    return Table(
        name=spec.name,
        title=f"{spec.title}; study {study.study}",
        heading=spec.heading,
        parameters=spec.parameters,
        columns=chosen,
        rows=rows,
        sections=sections(spec, study, records, chosen, rows, found),
        marked=tuple(best_and_second(one, rows) for one in found),
    )


def write_filled(spec: TableSpec, study: Study, records: Aggregate) -> Table:
    """Make a table, and write it as CSV, Markdown and LaTeX.

    Raises:
        DiskError: a file cannot be written.
    """
    table = fill(spec, study, records)
    write_table(table, Layout.of(study))
    return table


def _control(name: str, records: Aggregate, chosen: Sequence[Column]) -> Row:
    cells = tuple(cell_of(name, [0], records, column, None, False) for column in chosen)
    return Row(name=name, title=CONTROLS[name], kind="control", cells=cells, ranked=False)


def _cited(row: str, spec: TableSpec, chosen: Sequence[Column]) -> Row:
    return Row(
        name=row,
        title=row,
        kind="cited",
        cells=tuple(Cell((), CITED, _printed(spec, row, column), False) for column in chosen),
        printed=row,
        printed_params=_parameters(spec, row, "params_m"),
        printed_ratio=_parameters(spec, row, "ratio_pct"),
        ranked=False,
    )


def _run(
    row: RowSpec, spec: TableSpec, study: Study, records: Aggregate, chosen: Sequence[Column]
) -> Row:
    tasks = [task for task in spec.tasks if task in study.tasks_of(row.variant)]
    differences = row.differences(study)
    cells = tuple(
        cell_of(
            row.variant,
            study.seeds,
            records,
            column,
            _printed(spec, row.printed, column),
            bool(spec.paper)
            and not differences
            and (column.printed_of is None or row.printed in column.printed_of)
            and same_images(records, column)
            and not why_not_comparable(study, column.task),
        )
        if column.task in study.tasks_of(row.variant)
        else Cell((), NOT_PLANNED, None, False)
        for column in chosen
    )
    return Row(
        name=row.variant,
        title=_title(row, spec, study, records),
        kind="method",
        cells=cells,
        trainable=records.parameters(row.variant, tasks, "trainable_parameters"),
        original=records.parameters(row.variant, tasks, "original_parameters"),
        printed=row.printed,
        printed_params=_parameters(spec, row.printed, "params_m"),
        printed_ratio=_parameters(spec, row.printed, "ratio_pct"),
        ranked=row.variant not in NOT_PEFT,
        remarks=tuple(differences),
    )


def _title(row: RowSpec, spec: TableSpec, study: Study, records: Aggregate) -> str:
    if row.title is None:
        return run_title(records, row.variant)
    if isinstance(row.title, str):
        return row.title
    task = next(task for task in study.tasks_of(row.variant) if task in spec.tasks)
    return row.title(study.run(task, row.variant, study.seeds[0]))


def _printed(spec: TableSpec, row: str | None, column: Column) -> Printed | None:
    return printed(spec.paper, row, column.printed or column.key) if row else None


def _parameters(spec: TableSpec, row: str | None, name: str) -> Printed | None:
    known = row and spec.paper and name in columns(spec.paper)
    return printed(spec.paper, row, name) if row and known else None


def cell_of(
    name: str,
    seeds: Sequence[int],
    records: Aggregate,
    column: Column,
    paper: Printed | None,
    comparable: bool,
) -> Cell:
    """The cell of a row and a column: the values of its seeds, and the status of the others."""
    found = records.values(column.task, column.test_set, name, column.metric)
    values = {seed: value for seed, value in found.items() if seed in seeds}
    return Cell(
        values=tuple(value * column.scale for value in values.values()),
        status=_status(name, seeds, values, records, column),
        printed=paper,
        comparable=comparable,
        widest=column.widest,
    )


def _status(
    name: str, seeds: Sequence[int], done: Mapping[int, float], records: Aggregate, column: Column
) -> str:
    """`done`, or how many of the seeds are missing, left out, diverged or failed."""
    ended = (records.status(column.task, name, seed) for seed in seeds if seed not in done)
    statuses = Counter("not measured" if status == "done" else status for status in ended)
    if not statuses:
        return "done"
    if list(statuses.values()) == [len(seeds)]:
        return next(iter(statuses))
    counted = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
    return f"{counted} of {len(seeds)}"
