"""A table as CSV in full precision, as Markdown to read, and as LaTeX to print."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd

from naslora.core.files import write_text
from naslora.report.tables.cells import NOT_PLANNED, Cell, Verdict
from naslora.report.tables.latex import latex_text
from naslora.report.tables.markdown import DASH, bullets, grid, plain
from naslora.report.tables.model import Column, Row, Table
from naslora.report.tables.standing import flags, mark_notes
from naslora.study.layout import Layout

SUFFIXES = ("csv", "md", "tex")
SIGNS = {
    Verdict.REPRODUCED: "=",
    Verdict.DIFFERS: "≠",
    Verdict.UNDECIDED: "?",
    Verdict.NOT_COMPARABLE: "n/c",
    Verdict.MISSING: "missing",
    Verdict.NOT_PRINTED: "",
    Verdict.CITED: "",
}


def write_table(table: Table, layout: Layout) -> None:
    """Write a table in all formats, to `tables/<name>.{csv,md,tex}`.

    Raises:
        DiskError: a file cannot be written.
    """
    texts = {"csv": csv_text(table), "md": markdown_text(table), "tex": latex_text(table)}
    for suffix in SUFFIXES:
        write_text(layout.table(table.name, suffix), texts[suffix])


def csv_text(table: Table) -> str:
    """One line per row; numbers in full precision, empty where there is none."""
    marks = [table.marks(index) for index in range(len(table.columns))]
    lines = []
    for row in table.rows:
        line: dict[str, Any] = {"group": row.kind, "method": row.name, "title": row.title}
        line |= {"trainable_params_m": row.params_m, "ratio_pct": row.ratio}
        line |= {
            "paper_params_m": row.printed_params and row.printed_params.text,
            "paper_ratio_pct": row.printed_ratio and row.printed_ratio.text,
            "standing": row.standing,
        }
        for index, (cell, column) in enumerate(zip(row.cells, table.columns, strict=True)):
            values = {
                table.statistic: cell.value,
                "std": cell.std,
                "n": cell.n,
                "status": cell.status,
                "mark": marks[index].get(row.name),
                "no_better_than": _no_better_than(row, index),
                "paper": cell.printed and cell.printed.text,
                "difference": cell.difference,
                "verdict": cell.verdict.value,
            }
            line |= {f"{column.key}_{name}": value for name, value in values.items()}
        lines.append(line)
    return pd.DataFrame(lines, dtype=object).to_csv(index=False, lineterminator="\n")


def _no_better_than(row: Row, index: int) -> str:
    """What a row is not significantly better than in a column: the daggers, in words."""
    found = ["control"] if index in row.no_better else []
    return " ".join(found + (["network"] if index in row.behind_network else []))


def markdown_text(table: Table) -> str:
    """Our numbers, then the paper's with differences and verdicts, then the notes."""
    titles = [f"{column.title} {column.arrow}" for column in table.columns]
    header = [table.heading, *(["Params (M)", "Ratio (%)"] if table.parameters else []), *titles]
    stands = any(row.standing for row in table.rows)
    ours = grid(
        [*header, *(["Standing"] if stands else [])],
        [_our_line(row, table, stands) for row in (*table.controls, *table.methods)],
    )
    parts = [f"# {plain(table.title)}", "## Measured here", ours]
    if marks := mark_notes(table):
        parts.append(" ".join(marks))
    if table.printed:
        several = Counter(row.printed for row in table.printed)
        lines = [_paper_line(row, table, several[row.printed] > 1) for row in table.printed]
        what = " (and our difference from it)" if table.comparable else ""
        parts += [f"## Printed in the paper{what}", grid(header, lines)]
    for title, notes in table.sections:
        parts += [f"## {title}", bullets(notes)]
    return "\n\n".join(parts) + "\n"


def value_text(cell: Cell, column: Column) -> str:
    """`91.2 ± 0.3`, with the number of seeds where some are missing.

    A dash for no value, with the reason unless the row does not run on the task.
    """
    if cell.status == NOT_PLANNED:
        return DASH
    if cell.value is None:
        return f"{DASH} ({cell.status})"
    text = f"{cell.value:.{column.decimals}f}"
    if cell.std is not None:
        text += f" ± {cell.std:.{column.decimals}f}"
    return text if cell.status == "done" else f"{text} (n={cell.n})"


def paper_text(cell: Cell, column: Column) -> str:
    """`91.2 (+0.4, =)`: the paper's number, our difference from it and the verdict's sign.

    Only the number where the two cannot be compared.
    """
    if cell.printed is None:
        return DASH
    if cell.verdict in (Verdict.CITED, Verdict.NOT_COMPARABLE):
        return cell.printed.text
    if cell.difference is None:
        return f"{cell.printed.text} ({SIGNS[cell.verdict]})"
    return f"{cell.printed.text} ({cell.difference:+.{column.decimals}f}, {SIGNS[cell.verdict]})"


def _our_line(row: Row, table: Table, stands: bool) -> list[str]:
    line = [f"*{row.title}*" if row.kind in ("control", "network") else row.title]
    if table.parameters:
        line.append(f"{row.params_m:.3f}" if row.params_m is not None else DASH)
        line.append(f"{row.ratio:.2f}" if row.ratio is not None else DASH)
    for index, (cell, column) in enumerate(zip(row.cells, table.columns, strict=True)):
        text = value_text(cell, column)
        mark = table.marks(index).get(row.name)
        text = f"**{text}**" if mark == "best" else f"*{text}*" if mark else text
        line.append(f"{text} {flags(row, index)}".rstrip())
    return [*line, *([row.standing] if stands else [])]


def _paper_line(row: Row, table: Table, several: bool) -> list[str]:
    """A row of the paper; under our title if several of our rows are compared with it."""
    title = row.title if several else str(row.printed)
    line = [f"{title} (cited)" if row.kind == "cited" else title]
    if table.parameters:
        line += [p.text if p else DASH for p in (row.printed_params, row.printed_ratio)]
    return line + [
        paper_text(cell, column) for cell, column in zip(row.cells, table.columns, strict=True)
    ]
