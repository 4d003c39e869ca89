"""Table 1 of a study, as the tests of tables read it."""

from __future__ import annotations

import csv

from naslora.report.tables.filling import fill, write_filled
from naslora.report.tables.model import Table
from naslora.report.tables.table1 import TABLE
from naslora.report.tables.writers import markdown_text
from naslora.results.aggregate import aggregate
from naslora.study.layout import Layout
from naslora.study.settings import Study


def table1(study: Study) -> Table:
    return fill(TABLE, study, aggregate(study))


def write_table1(study: Study) -> None:
    write_filled(TABLE, study, aggregate(study))


def rows_of(study: Study) -> dict[str, dict[str, str]]:
    write_table1(study)
    text = Layout.of(study).table("table1", "csv").read_text()
    return {row["method"]: row for row in csv.DictReader(text.splitlines())}


def markdown(study: Study) -> str:
    return markdown_text(table1(study))


def section(text: str, title: str) -> str:
    return text.split(f"## {title}\n")[1].split("\n## ")[0]


def latex_of(study: Study) -> str:
    write_table1(study)
    return Layout.of(study).table("table1", "tex").read_text()
