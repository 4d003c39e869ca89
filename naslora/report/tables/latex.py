r"""A table as LaTeX: booktabs at \footnotesize, in blocks of columns that fit the page.

Widths are estimated from the number of characters. A table of few columns fits one column of a
two-column page; a wider one spans both, and is split by columns into several tables if needed, so
that text is never scaled down.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby

from naslora.report.tables.cells import Cell, Verdict
from naslora.report.tables.leakage import LEAKAGE
from naslora.report.tables.model import Column, Row, Table
from naslora.report.tables.notes import NOT_COMPARABLE, WHAT_WAS_MEASURED, WHAT_WAS_RUN
from naslora.report.tables.standing import flags, mark_notes

COLUMN_PT, TEXT_PT = 237.0, 495.0  # of a two-column page, 3.28 and 6.85 inches
# A character at \footnotesize, one at \scriptsize, and the space between columns.
_CHARACTER_PT, _SMALL_PT, _BETWEEN_PT = 4.3, 3.8, 8.0
_END = r" \\"
_DASH = "--"
_COMMANDS = {"best": "textbf", "second": "underline"}
_SIGNS = {Verdict.REPRODUCED: "$^{=}$", Verdict.DIFFERS: r"$^{\neq}$", Verdict.UNDECIDED: "$^{?}$"}
_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    # At the start of a row, these would be read as an argument of the `\\` above.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "±": r"$\pm$",
    "≠": r"$\neq$",
    "²": "$^2$",
    "\u03b1": r"$\alpha$",
    "β": r"$\beta$",
    "π": r"$\pi$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "\u2013": "--",
    "`": "",
}


def latex_text(table: Table) -> str:
    """One `table`, or `table*` in parts: controls, methods, the paper's rows, and notes below.

    The document needs the package booktabs. Superscripts are verdicts or daggers; a subscript is
    the number of seeds, where not all are done.
    """
    blocks = column_blocks(table)
    parts = [_part(table, block, number, len(blocks)) for number, block in enumerate(blocks, 1)]
    return "\n".join([r"% needs \usepackage{booktabs}", *parts]) + "\n"


def _part(table: Table, block: Sequence[int], number: int, parts: int) -> str:
    narrow = parts == 1 and block_width(table, block, first=True) <= COLUMN_PT
    environment = "table" if narrow else "table*"
    caption = _caption(table.title)
    if parts > 1:
        caption += f" (part {number} of {parts})"
    lines = [
        rf"\begin{{{environment}}}",
        r"\centering",
        rf"\caption{{{escape(caption)}}}",
        rf"\label{{tab:{table.name}{f'-{number}' if number > 1 else ''}}}",
        r"\footnotesize",
        r"\setlength{\tabcolsep}{4pt}",
        *_tabular(table, block, first=number == 1),
    ]
    if number == parts and (notes := _notes(table)):
        lines += [
            r"\par\smallskip",
            r"\begin{minipage}{\linewidth}\footnotesize",
            *(escape(note) for note in notes),
            r"\end{minipage}",
        ]
    return "\n".join([*lines, rf"\end{{{environment}}}"])


def escape(text: str) -> str:
    """Plain text as LaTeX source, on one line and without control characters."""
    printable = "".join(c for c in " ".join(text.split()) if c.isprintable())
    return re.sub(r"(?<!\\)\$\$", "", "".join(_ESCAPES.get(c, c) for c in printable))


def column_blocks(table: Table) -> list[range]:
    """Indices of the columns of each part; columns under one head stay together if they fit."""
    heads = [
        list(found) for _, found in groupby(range(len(table.columns)), lambda i: _head(table, i))
    ]
    blocks: list[list[int]] = [[]]
    for head in heads:
        for part in [head] if _fits(table, head, first=False) else [[index] for index in head]:
            first = len(blocks) == 1
            if blocks[-1] and not _fits(table, [*blocks[-1], *part], first=first):
                blocks.append([])
            blocks[-1] += part
    return [range(block[0], block[-1] + 1) if block else range(0) for block in blocks]


def block_width(table: Table, block: Sequence[int], *, first: bool) -> float:
    """The estimated width of a block in points; the first block has the parameter counts."""
    titles = [_title(row) for row in table.rows]
    front = [max(map(len, [table.heading, *titles]))]
    if first and table.parameters:
        front += [10, 9]
    width = sum(length * _CHARACTER_PT + _BETWEEN_PT for length in front)
    for head, columns in groupby(block, lambda index: _head(table, index)):
        widths = [_column_width(table, index) + _BETWEEN_PT for index in columns]
        title = len(head) * _CHARACTER_PT + _BETWEEN_PT if isinstance(head, str) else 0.0
        width += max(sum(widths), title)
    return width


def _fits(table: Table, block: Sequence[int], *, first: bool) -> bool:
    return block_width(table, block, first=first) <= TEXT_PT


def _head(table: Table, index: int) -> str | int:
    """The head that groups a column with others; a column without one is alone."""
    return table.columns[index].head or index


def _column_width(table: Table, index: int) -> float:
    column = table.columns[index]
    heading = max(map(len, _heading_lines(column))) * _CHARACTER_PT
    cells = [_cell_width(row.cells[index], column) for row in table.rows]
    printed = [
        len(row.cells[index].printed.text) * _CHARACTER_PT + _SMALL_PT  # type: ignore[union-attr]
        for row in table.printed
        if row.cells[index].printed
    ]
    return max([heading, *cells, *printed])


def _cell_width(cell: Cell, column: Column) -> float:
    if cell.value is None:
        return 2 * _CHARACTER_PT
    width = len(f"{cell.value:.{column.decimals}f}") * _CHARACTER_PT + 2 * _SMALL_PT  # two daggers
    if cell.std is not None:
        width += (2 + len(f"{cell.std:.{column.decimals}f}")) * _SMALL_PT
    return width + (0 if cell.status == "done" else _SMALL_PT)


def _heading_lines(column: Column) -> list[str]:
    """A heading in lines of about ten characters, its arrow in the last."""
    lines = [""]
    for word in f"{column.short} {column.arrow}".split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > 10 and word != column.arrow:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _tabular(table: Table, block: Sequence[int], *, first: bool) -> list[str]:
    parameters = first and table.parameters
    front = 3 if parameters else 1
    rules, heads = _heads(table, block, front)
    names = [escape(table.heading), *(["Params (M)", r"Ratio (\%)"] if parameters else [])]
    headings = [_stacked(_heading_lines(table.columns[index])) for index in block]
    printed = [row for row in _once(table.printed) if any(row.cells[i].printed for i in block)]
    body = [
        *(_line(_our_fields(row, table, block, parameters)) for row in table.controls),
        *([r"\midrule"] if table.controls else []),
        *(_line(_our_fields(row, table, block, parameters)) for row in table.methods),
    ]
    if printed:
        width = front + len(block)
        body += [r"\midrule", rf"\multicolumn{{{width}}}{{@{{}}l}}{{Printed in the paper}}" + _END]
        body += [_line(_paper_fields(row, block, parameters)) for row in printed]
    return [
        rf"\begin{{tabular}}{{@{{}}l{'r' * (front - 1)}{'c' * len(block)}@{{}}}}",
        r"\toprule",
        *([heads, rules] if heads else []),
        _line([*names, *headings]),
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
    ]


def _heads(table: Table, block: Sequence[int], front: int) -> tuple[str, str]:
    """The rules below the row of heads, and the row itself; empty without heads."""
    if not any(table.columns[index].head for index in block):
        return "", ""
    fields, rules, place = [""] * front, "", front + 1
    for head, found in groupby(block, lambda index: table.columns[index].head):
        number = len(list(found))
        fields.append(rf"\multicolumn{{{number}}}{{c}}{{{escape(head)}}}")
        rules += rf"\cmidrule(lr){{{place}-{place + number - 1}}}" if head and number > 1 else ""
        place += number
    return rules, _line(fields)


def _stacked(lines: Sequence[str]) -> str:
    text = r" \\ ".join(map(escape, lines))
    return text if len(lines) == 1 else rf"\shortstack{{{text}}}"


def _notes(table: Table) -> list[str]:
    """Notes on the runs, the marks, and the reasons if nothing is comparable."""
    sections = dict(table.sections)
    notes = [
        *sections.get(WHAT_WAS_RUN, ())[:1],
        *sections.get(WHAT_WAS_MEASURED, ()),
        *sections.get(LEAKAGE, ())[:1],
        *mark_notes(table, second="underlined"),
    ]
    notes += [f"{row.title}: {row.standing}." for row in table.methods if row.standing]
    notes += sections.get(NOT_COMPARABLE, ())[:1]
    if table.comparable:
        notes.append("Verdicts: = reproduced, ≠ differs, ? undecided; none: not comparable.")
    return notes


def _line(fields: Iterable[str]) -> str:
    return " & ".join(fields) + _END


def _caption(title: str) -> str:
    """A title without "Table 1: ", since LaTeX numbers tables itself."""
    match = re.fullmatch(r"(Table \w+): (.)(.*)", title)
    return f"{match[2].upper()}{match[3]} (the paper's {match[1]})" if match else title


def _title(row: Row) -> str:
    return f"{row.title} (cited)" if row.kind == "cited" else row.title


def _our_fields(row: Row, table: Table, block: Sequence[int], parameters: bool) -> list[str]:
    fields = [escape(row.title)]
    if parameters:
        fields.append(f"{row.params_m:.3f}" if row.params_m is not None else _DASH)
        fields.append(f"{row.ratio:.2f}" if row.ratio is not None else _DASH)
    for index in block:
        mark = table.marks(index).get(row.name)
        text = _value(row.cells[index], table.columns[index], mark)
        raised = escape(flags(row, index)).replace("$", "")
        fields.append(text + (f"$^{{{raised}}}$" if raised else ""))
    return fields


def _value(cell: Cell, column: Column, mark: str | None) -> str:
    if cell.value is None:
        return _DASH
    text = f"{cell.value:.{column.decimals}f}"
    if mark:
        text = rf"\{_COMMANDS[mark]}{{{text}}}"
    if cell.std is not None:
        text += rf" {{\scriptsize $\pm$ {cell.std:.{column.decimals}f}}}"
    return text if cell.status == "done" else rf"{text}$_{{{cell.n}}}$"


def _once(rows: Iterable[Row]) -> list[Row]:
    """Each of the paper's rows once, though several of ours may stand beside it."""
    found: dict[str | None, Row] = {}
    for row in rows:
        found.setdefault(row.printed, row)
    return list(found.values())


def _paper_fields(row: Row, block: Sequence[int], parameters: bool) -> list[str]:
    fields = [escape(f"{row.printed} (cited)" if row.kind == "cited" else str(row.printed))]
    if parameters:
        fields += [p.text if p else _DASH for p in (row.printed_params, row.printed_ratio)]
    for cell in (row.cells[index] for index in block):
        fields.append(cell.printed.text + _SIGNS.get(cell.verdict, "") if cell.printed else _DASH)
    return fields
