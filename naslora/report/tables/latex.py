"""A table as LaTeX: booktabs, the best value in bold, the second underlined."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from naslora.report.tables.cells import Cell
from naslora.report.tables.model import Column, Row, Table

_ESCAPES = str.maketrans(
    {
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
        "±": r"$\pm$",
        "≠": r"$\neq$",
        "π": r"$\pi$",
        "\u2013": "--",
        "`": "",
    }
)
_END = r" \\"
_DASH = "--"
_COMMANDS = {"best": "textbf", "second": "underline"}


def latex_text(table: Table) -> str:
    """A `table*` environment: controls, methods, then the paper's rows; its notes in the caption.

    The document needs the packages booktabs and graphicx; a table wider than the text is made
    smaller.
    """
    front = 3 if table.parameters else 1
    width = front + len(table.columns)
    headings = [f"{escape(column.title)} {_arrow(column)}" for column in table.columns]
    marks = [table.marks(index) for index in range(len(table.columns))]
    parameters = ["Params (M)", r"Ratio (\%)"] if table.parameters else []
    tabular = [
        rf"\begin{{tabular}}{{l{'r' * (front - 1)}{'c' * len(table.columns)}}}",
        r"\toprule",
        _line([escape(table.heading), *parameters, *headings]),
        r"\midrule",
        *(_line(_our_fields(row, table, None)) for row in table.controls),
        *([r"\midrule"] if table.controls else []),
        *(_line(_our_fields(row, table, marks)) for row in table.methods),
        r"\midrule",
        rf"\multicolumn{{{width}}}{{l}}{{Printed in the paper}}" + _END,
        *(_line(_paper_fields(row, table)) for row in _once(table.printed)),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    lines = [
        r"% needs \usepackage{booktabs,graphicx}",
        r"\begin{table*}",
        r"\centering",
        rf"\caption{{{escape(_caption(table))}}}",
        rf"\label{{tab:{table.name}}}",
        r"\medskip",
        rf"\sbox0{{{tabular[0]}",
        *tabular[1:-1],
        f"{tabular[-1]}}}",
        r"\ifdim\wd0>\textwidth\resizebox{\textwidth}{!}{\usebox0}\else\usebox0\fi",
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Plain text as LaTeX source."""
    return text.translate(_ESCAPES)


def _caption(table: Table) -> str:
    first = table.sections[0][1] if table.sections else ()
    return " ".join((f"The paper's {table.title}.", *first))


def _arrow(column: Column) -> str:
    return r"$\uparrow$" if column.higher_is_better else r"$\downarrow$"


def _line(fields: Iterable[str]) -> str:
    return " & ".join(fields) + _END


def _our_fields(row: Row, table: Table, marks: Sequence[dict[str, str]] | None) -> list[str]:
    fields = [escape(row.title)]
    if table.parameters:
        fields.append(f"{row.params_m:.3f}" if row.params_m is not None else _DASH)
        fields.append(f"{row.ratio:.2f}" if row.ratio is not None else _DASH)
    for index, (cell, column) in enumerate(zip(row.cells, table.columns, strict=True)):
        mark = marks[index].get(row.name) if marks else None
        fields.append(_value(cell, column, mark))
    return fields


def _value(cell: Cell, column: Column, mark: str | None) -> str:
    if cell.mean is None:
        return rf"{_DASH} {{\footnotesize {escape(cell.status)}}}"
    text = f"{cell.mean:.{column.decimals}f}"
    if mark:
        text = rf"\{_COMMANDS[mark]}{{{text}}}"
    if cell.std is not None:
        text += rf" {{\footnotesize $\pm$ {cell.std:.{column.decimals}f}}}"
    return text if cell.status == "done" else rf"{text} {{\footnotesize ($n={cell.n}$)}}"


def _once(rows: Iterable[Row]) -> list[Row]:
    """Each of the paper's rows once, though several of ours may stand beside it."""
    found: dict[str | None, Row] = {}
    for row in rows:
        found.setdefault(row.printed, row)
    return list(found.values())


def _paper_fields(row: Row, table: Table) -> list[str]:
    title = f"{row.printed} (cited)" if row.kind == "cited" else str(row.printed)
    parameters = (row.printed_params, row.printed_ratio) if table.parameters else ()
    numbers = (*parameters, *(cell.printed for cell in row.cells))
    return [escape(title), *(number.text if number else _DASH for number in numbers)]
