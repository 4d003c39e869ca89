"""The tables of a study, by name: their sources, files and writers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from naslora.core.errors import RecordError, SettingsError
from naslora.report.tables import ablations, overview, own_tasks, table1, table2, table3
from naslora.report.tables.model import Table, TableSpec
from naslora.results.sources import ALL_SOURCES, RECORDS, sources_of, write_sources
from naslora.study.layout import Layout
from naslora.study.settings import Study

if TYPE_CHECKING:
    from naslora.results.aggregate import Aggregate

ALL = "all"

# Slow imports are inside functions, because the workflow reads names only.


@dataclass(frozen=True)
class Product:
    """A table that can be written.

    Attributes:
        write: writes it, given the study and its records.
        tasks: the tasks of a study that it shows; a study without any does not have the table.
        suffixes: the formats.
        from_records: whether it needs no timings.
        needs_scores: whether it is empty without a record of one of its tasks.
        build: the table itself; None for one that is not a grid of rows and columns.
    """

    write: Callable[[Study, Aggregate], object]
    tasks: Callable[[Study], Collection[str]]
    suffixes: tuple[str, ...] = ("csv", "md", "tex")
    from_records: bool = True
    needs_scores: bool = True
    build: Callable[[Study, Aggregate], Table] | None = None


def _every(study: Study) -> Collection[str]:
    return study.tasks


def _filled(spec: Callable[[Study], TableSpec]) -> Product:
    """A table whose cells are metrics in records."""

    def write(study: Study, records: Aggregate) -> object:
        from naslora.report.tables.filling import write_filled

        return write_filled(spec(study), study, records)

    def build(study: Study, records: Aggregate) -> Table:
        from naslora.report.tables.filling import fill

        return fill(spec(study), study, records)

    def tasks(study: Study) -> Collection[str]:
        return [task for task in spec(study).tasks if task in study.tasks]

    return Product(write, tasks, build=build)


def _overview() -> Product:
    """The overview of a study of several tasks; with one, the task's own table is enough."""
    filled = _filled(overview.overview)
    return replace(filled, tasks=lambda study: study.tasks if len(study.tasks) > 1 else ())


def _printed(spec: TableSpec) -> Product:
    """A table of the paper."""
    return _filled(lambda study: spec)


def _write_ranking(study: Study, records: Aggregate) -> None:
    from naslora.report.tables.ranking import write_ranking

    write_ranking(study, records)


def _write_table4(study: Study, records: Aggregate) -> None:
    from naslora.report.tables.table4 import write_table4

    write_table4(study)


def _build_table4(study: Study, records: Aggregate) -> Table:
    from naslora.report.tables.table4 import table4

    return table4(study)


def _write_claims(study: Study, records: Aggregate) -> None:
    from naslora.report.claims.audit import write_claims

    write_claims(study, records)


def _write_table5(study: Study, records: Aggregate) -> None:
    from naslora.report.tables.table5 import write_table5

    write_table5(study)


def _build_table5(study: Study, records: Aggregate) -> Table:
    from naslora.report.tables.table5 import table5

    return table5(study)


def _write_all_scores(study: Study, records: Aggregate) -> None:
    from naslora.report.tables.all_scores import write_all_scores

    write_all_scores(study, records)


def _write_status(study: Study, records: Aggregate) -> None:
    from naslora.report.tables.status import write_status

    write_status(study, records)


TABLES: dict[str, Product] = {
    "ranking": Product(_write_ranking, _every, suffixes=("csv", "md")),
    overview.NAME: _overview(),
    "table1": _printed(table1.TABLE),
    "table2": _printed(table2.TABLE),
    "table3": _printed(table3.TABLE),
    own_tasks.NAME: _filled(own_tasks.own_table),
    "table4": Product(_write_table4, _every, needs_scores=False, build=_build_table4),
    "table5": Product(
        _write_table5, _every, from_records=False, needs_scores=False, build=_build_table5
    ),
    **{table.name: _printed(table) for table in ablations.TABLES},
    "scores": Product(_write_all_scores, _every, suffixes=("csv", "md")),
    "status": Product(_write_status, _every, suffixes=("csv", "md"), needs_scores=False),
    "claims": Product(
        _write_claims, _every, suffixes=("json", "md"), from_records=False, needs_scores=False
    ),
}


def tables_of(study: Study) -> list[str]:
    """The tables that a study has: those that show any of its tasks."""
    return [name for name, product in TABLES.items() if product.tasks(study)]


def table_paths(study: Study, name: str) -> list[Path]:
    """The files of a table."""
    return [Layout.of(study).table(name, suffix) for suffix in TABLES[name].suffixes]


def write_tables(study: Study, names: Sequence[str]) -> list[Path]:
    """Write tables, each in its formats; `all` are those that the study has.

    The mean scores for `dvc metrics` are written with those that are made from records.

    Raises:
        SettingsError: there is no such table, or the study has none of its tasks.
        RecordError: there is no record that a table could show, or one cannot be read.
        DiskError: a file cannot be written.
    """
    for name in names:
        if name not in (*TABLES, ALL):
            raise SettingsError(
                f"no table named {name!r}", remedy=f"choose from {', '.join((*TABLES, ALL))}"
            )
    known = tables_of(study)
    chosen = list(dict.fromkeys(t for name in names for t in (known if name == ALL else [name])))
    for name in chosen:
        if name not in known:
            raise SettingsError(
                f"study {study.study} has none of the tasks of {name}",
                remedy=f"add one to the study's tasks, or choose from {', '.join(known)}",
            )
    if not chosen:
        return []
    from naslora.report.tables.scores import write_scores
    from naslora.results.aggregate import aggregate

    sources = sources_of(study)  # before the records, so that a change in between is seen
    records = aggregate(study)
    _check_records(study, chosen, set(records.runs["task"]), len(records.problems))
    for name in chosen:
        TABLES[name].write(study, records)
    if any(TABLES[name].from_records for name in chosen):
        write_scores(study, records)
    folder = Layout.of(study).tables
    for name in chosen:
        write_sources(
            folder, [name], sources, RECORDS if TABLES[name].from_records else ALL_SOURCES
        )
    return [path for name in chosen for path in table_paths(study, name)]


def _check_records(study: Study, names: Sequence[str], tasks: set[str], left_out: int) -> None:
    """Refuse tables in which every cell would be a dash."""
    empty = [n for n in names if TABLES[n].needs_scores and not tasks & {*TABLES[n].tasks(study)}]
    # If all tables of an unfinished study are asked for, some may not have records yet.
    if empty and (len(names) == len(empty) or not tasks):
        several = f"; {left_out} records are left out, see tables/status.md" if left_out else ""
        raise RecordError(
            f"there is no record of the tasks of {', '.join(empty)}{several}",
            where=Layout.of(study).records,
            remedy=f"run the study first: naslora run --study {study.study}",
        )
