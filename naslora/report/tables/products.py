"""The tables and figures of a study, by name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from naslora.core.errors import SettingsError
from naslora.report.tables import ablations, table1, table2, table3
from naslora.report.tables.model import Table, TableSpec
from naslora.study.layout import Layout
from naslora.study.settings import Study

if TYPE_CHECKING:
    from naslora.results.aggregate import Aggregate

ALL = "all"

# Imports that take longer than a table are inside the functions: the workflow reads the names.


@dataclass(frozen=True)
class Product:
    """A table that can be written.

    Attributes:
        write: writes it, given the study and its records.
        tasks: a study needs one of them to have this table; None if any will do.
        suffixes: the formats.
        from_records: whether records are all that it needs; others wait for timings too.
        build: the table itself; None for one that is no table of the paper.
    """

    write: Callable[[Study, Aggregate], object]
    tasks: tuple[str, ...] | None = None
    suffixes: tuple[str, ...] = ("csv", "md", "tex")
    from_records: bool = True
    build: Callable[[Study, Aggregate], Table] | None = None


def _filled(spec: TableSpec) -> Product:
    """A table of the paper whose cells are metrics in records."""

    def write(study: Study, records: Aggregate) -> object:
        from naslora.report.tables.filling import write_filled

        return write_filled(spec, study, records)

    def build(study: Study, records: Aggregate) -> Table:
        from naslora.report.tables.filling import fill

        return fill(spec, study, records)

    return Product(write, spec.tasks, build=build)


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
    "table1": _filled(table1.TABLE),
    "table2": _filled(table2.TABLE),
    "table3": _filled(table3.TABLE),
    "table4": Product(_write_table4, build=_build_table4),
    "table5": Product(_write_table5, from_records=False, build=_build_table5),
    "table6": _filled(ablations.TABLE6),
    "table7": _filled(ablations.TABLE7),
    "table8": _filled(ablations.TABLE8),
    "table9": _filled(ablations.TABLE9),
    "tableD1": _filled(ablations.TABLE_D1),
    "scores": Product(_write_all_scores, suffixes=("csv", "md")),
    "status": Product(_write_status, suffixes=("csv", "md")),
    "claims": Product(_write_claims, suffixes=("json", "md"), from_records=False),
}


def tables_of(study: Study) -> list[str]:
    """The tables that a study has: those about a task of its own."""
    return [
        name
        for name, product in TABLES.items()
        if product.tasks is None or set(product.tasks) & set(study.tasks)
    ]


def table_paths(study: Study, name: str) -> list[Path]:
    """The files of a table."""
    return [Layout.of(study).table(name, suffix) for suffix in TABLES[name].suffixes]


def write_tables(study: Study, names: Sequence[str]) -> list[Path]:
    """Write tables, each in its formats; `all` are those that the study has.

    The mean scores for `dvc metrics` are written with those that are made from records.

    Raises:
        SettingsError: there is no such table, or the study has none of its tasks.
        DiskError: a file cannot be written.
    """
    _check("table", [name for name in names if name != ALL], (*TABLES, ALL))
    known = tables_of(study)
    chosen = list(dict.fromkeys(t for name in names for t in (known if name == ALL else [name])))
    for name in chosen:
        if name not in known:
            raise SettingsError(
                f"study {study.study} has none of the tasks of {name}: "
                f"{', '.join(TABLES[name].tasks or ())}",
                remedy=f"add one to the study's tasks, or choose from {', '.join(known)}",
            )
    if not chosen:
        return []
    from naslora.report.tables.scores import write_scores
    from naslora.results.aggregate import aggregate

    records = aggregate(study)
    for name in chosen:
        TABLES[name].write(study, records)
    if any(TABLES[name].from_records for name in chosen):
        write_scores(study, records)
    return [path for name in chosen for path in table_paths(study, name)]


def _check(kind: str, names: Sequence[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise SettingsError(
                f"no {kind} named {name!r}", remedy=f"choose from {', '.join(known)}"
            )
