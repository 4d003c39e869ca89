"""A table as LaTeX: booktabs, the best value in bold, the second underlined."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from naslora.report.cells import Cell
from naslora.report.tables import Column, Row, Table

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
        "\u2013": "--",
        "`": "",
    }
)
_END = r" \\"
_DASH = "--"


def latex_text(table: Table) -> str:
    """A `table*` environment: controls, methods, then the paper's rows; its notes in the caption.

    The document needs the package booktabs. Best and second are marked among the methods' means
    as they are printed here, ties alike; a column with fewer than two methods has no marks.
    """
    width = 3 + len(table.columns)
    headings = [f"{escape(column.title)} {_arrow(column)}" for column in table.columns]
    marks = [_marks(table, index) for index in range(len(table.columns))]
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table*}",
        r"\centering",
        rf"\caption{{{escape(_caption(table))}}}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{lrr{'c' * len(table.columns)}}}",
        r"\toprule",
        _line(["Method", "Params (M)", r"Ratio (\%)", *headings]),
        r"\midrule",
        *(_line(_our_fields(row, table.columns, None)) for row in table.controls),
        r"\midrule",
        *(_line(_our_fields(row, table.columns, marks)) for row in table.methods),
        r"\midrule",
        rf"\multicolumn{{{width}}}{{l}}{{Printed in the paper}}" + _END,
        *(_line(_paper_fields(row)) for row in table.methods),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Plain text as LaTeX source."""
    return text.translate(_ESCAPES)


def _caption(table: Table) -> str:
    first = table.sections[0][1] if table.sections else ()
    return " ".join((f"{table.title}.", *first))


def _arrow(column: Column) -> str:
    return r"$\uparrow$" if column.higher_is_better else r"$\downarrow$"


def _line(fields: Iterable[str]) -> str:
    return " & ".join(fields) + _END


def _our_fields(
    row: Row, columns: Sequence[Column], marks: Sequence[dict[str, str]] | None
) -> list[str]:
    fields = [escape(row.title)]
    fields.append(f"{row.params_m:.3f}" if row.params_m is not None else _DASH)
    fields.append(f"{row.ratio:.2f}" if row.ratio is not None else _DASH)
    for index, (cell, column) in enumerate(zip(row.cells, columns, strict=True)):
        mark = marks[index].get(row.name) if marks else None
        fields.append(_value(cell, column, mark))
    return fields


def _value(cell: Cell, column: Column, mark: str | None) -> str:
    if cell.mean is None:
        return rf"{_DASH} {{\footnotesize {escape(cell.status)}}}"
    text = f"{cell.mean:.{column.decimals}f}"
    if mark:
        text = rf"\{mark}{{{text}}}"
    if cell.std is not None:
        text += rf" {{\footnotesize $\pm$ {cell.std:.{column.decimals}f}}}"
    return text if cell.status == "done" else rf"{text} {{\footnotesize ($n={cell.n}$)}}"


def _paper_fields(row: Row) -> list[str]:
    numbers = (row.printed_params, row.printed_ratio, *(cell.printed for cell in row.cells))
    return [escape(row.title), *(number.text if number else _DASH for number in numbers)]


def _marks(table: Table, index: int) -> dict[str, str]:
    """The LaTeX command that sets off the best and the second-best rows of a column."""
    column = table.columns[index]
    shown = {
        row.name: round(mean, column.decimals)
        for row in table.methods
        if (mean := row.cells[index].mean) is not None
    }
    if len(shown) < 2:
        return {}
    order = sorted(set(shown.values()), reverse=column.higher_is_better)
    commands = dict(zip(order, ("textbf", "underline"), strict=False))
    return {name: commands[value] for name, value in shown.items() if value in commands}
