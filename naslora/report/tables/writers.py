"""A table as CSV in full precision, as Markdown to read, and as LaTeX to print."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence

from naslora.core.files import write_text
from naslora.report.tables.cells import Cell, Verdict
from naslora.report.tables.latex import latex_text
from naslora.report.tables.model import Column, Row, Table
from naslora.study.layout import Layout

SUFFIXES = ("csv", "md", "tex")
DASH = "\N{EN DASH}"
_SIGNS = {
    Verdict.REPRODUCED: "=",
    Verdict.DIFFERS: "≠",
    Verdict.UNDECIDED: "?",
    Verdict.NOT_COMPARABLE: "n/c",
    Verdict.MISSING: "missing",
    Verdict.NOT_PRINTED: "",
    Verdict.CITED: "",
}
_CELL_FIELDS = ("std", "n", "status", "paper", "difference", "verdict")


def write_table(table: Table, layout: Layout) -> None:
    """Write a table in all formats, to `tables/<name>.{csv,md,tex}`.

    Raises:
        DiskError: a file cannot be written.
    """
    texts = {"csv": csv_text(table), "md": markdown_text(table), "tex": latex_text(table)}
    for suffix in SUFFIXES:
        write_text(layout.table(table.name, suffix), texts[suffix])


def csv_text(table: Table) -> str:
    """One line per row; numbers in full precision, and nothing where there is no number."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    header = ["group", "method", "title"]
    header += ["trainable_params_m", "ratio_pct", "paper_params_m", "paper_ratio_pct"]
    fields_of_a_cell = (table.statistic, *_CELL_FIELDS)
    writer.writerow(header + [f"{c.key}_{f}" for c in table.columns for f in fields_of_a_cell])
    for row in table.rows:
        fields: list[object] = [row.kind, row.name, row.title]
        fields += [row.params_m, row.ratio]
        fields += [p.text if p else None for p in (row.printed_params, row.printed_ratio)]
        for cell in row.cells:
            fields += [cell.mean, cell.std, cell.n, cell.status]
            fields += [cell.printed.text if cell.printed else None, cell.difference]
            fields.append(cell.verdict.value)
        writer.writerow(["" if field is None else field for field in fields])
    return buffer.getvalue()


def markdown_text(table: Table) -> str:
    """Our numbers, then the paper's with differences and verdicts, then the notes."""
    titles = [f"{column.title} {column.arrow}" for column in table.columns]
    header = [table.heading, *(["Params (M)", "Ratio (%)"] if table.parameters else []), *titles]
    ours = grid(header, [_our_line(row, table) for row in (*table.controls, *table.methods)])
    several = Counter(row.printed for row in table.printed)
    theirs = grid(
        header, [_paper_line(row, table, several[row.printed] > 1) for row in table.printed]
    )
    parts = [f"# {table.title}", "## Measured here", ours]
    parts += ["## Printed in the paper (and our difference from it)", theirs]
    for title, lines in table.sections:
        parts += [f"## {title}", "\n".join(f"- {line}" for line in lines)]
    return "\n\n".join(parts) + "\n"


def value_text(cell: Cell, column: Column) -> str:
    """`91.2 ± 0.3`, with the number of seeds where it is not the full one; a dash for no value."""
    if cell.mean is None:
        return f"{DASH} ({cell.status})"
    text = f"{cell.mean:.{column.decimals}f}"
    if cell.std is not None:
        text += f" ± {cell.std:.{column.decimals}f}"
    return text if cell.status == "done" else f"{text} (n={cell.n})"


def paper_text(cell: Cell, column: Column) -> str:
    """`91.2 (+0.4, =)`: the paper's number, our difference from it and the verdict's sign."""
    if cell.printed is None:
        return DASH
    if cell.verdict is Verdict.CITED:
        return cell.printed.text
    if cell.difference is None:
        return f"{cell.printed.text} ({_SIGNS[cell.verdict]})"
    return f"{cell.printed.text} ({cell.difference:+.{column.decimals}f}, {_SIGNS[cell.verdict]})"


def _our_line(row: Row, table: Table) -> list[str]:
    line = [f"*{row.title}*" if row.kind == "control" else row.title]
    if table.parameters:
        line.append(f"{row.params_m:.3f}" if row.params_m is not None else DASH)
        line.append(f"{row.ratio:.2f}" if row.ratio is not None else DASH)
    return line + [
        value_text(cell, column) for cell, column in zip(row.cells, table.columns, strict=True)
    ]


def _paper_line(row: Row, table: Table, several: bool) -> list[str]:
    """A row of the paper's; by our title where several of ours stand beside it."""
    title = row.title if several else str(row.printed)
    line = [f"{title} (cited)" if row.kind == "cited" else title]
    if table.parameters:
        line += [p.text if p else DASH for p in (row.printed_params, row.printed_ratio)]
    return line + [
        paper_text(cell, column) for cell, column in zip(row.cells, table.columns, strict=True)
    ]


def grid(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned source; the first column to the left, the others right."""
    cells = [[text.replace("|", "\\|") for text in line] for line in (header, *lines)]
    widths = [max(3, *(len(line[i]) for line in cells)) for i in range(len(header))]
    rules = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    texts = [
        [
            text.ljust(width) if index == 0 else text.rjust(width)
            for index, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in (cells[0], rules, *cells[1:])
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in texts)
