"""Writing a figure: the picture, its caption, and the numbers that it was drawn from."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from naslora.core.files import write_bytes, write_text
from naslora.report.tables.latex import escape

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_PICTURES = ("png", "pdf")


def save_figure(canvas: Figure, path: Path, caption: str, data: pd.DataFrame) -> None:
    """Write a figure as PNG, PDF, CSV, Markdown and LaTeX; the same figure gives the same bytes.

    Args:
        canvas: the figure.
        path: of the PNG; the others lie beside it.
        caption: plain sentences.
        data: one row per number that was drawn, written as CSV.

    Raises:
        DiskError: a file cannot be written.
    """
    for suffix in _PICTURES:
        write_bytes(path.with_suffix(f".{suffix}"), picture_bytes(canvas, suffix))
    write_text(path.with_suffix(".csv"), data.to_csv(index=False, lineterminator="\n"))
    write_text(path.with_suffix(".md"), caption + "\n")
    write_text(path.with_suffix(".tex"), latex_figure(path.stem, caption))


def save_reason(path: Path, reason: str) -> None:
    """Write a figure that says why it shows nothing.

    Raises:
        DiskError: a file cannot be written.
    """
    import pandas as pd

    from naslora.report.figures.style import figure

    with figure(1.0) as canvas:
        canvas.text(0.5, 0.5, reason, ha="center", va="center", color="0.35", wrap=True)
        save_figure(canvas, path, f"Nothing to show: {reason}.", pd.DataFrame({"reason": [reason]}))


def picture_bytes(canvas: Figure, suffix: str) -> bytes:
    """A figure as a PNG or PDF file, without the names of programs or the time of creation."""
    metadata = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Producer": None}}
    buffer = io.BytesIO()
    canvas.savefig(buffer, format=suffix, metadata=metadata[suffix])
    return buffer.getvalue()


def latex_figure(name: str, caption: str) -> str:
    """A figure over both columns of a page; the document needs the package graphicx."""
    lines = [
        r"\begin{figure*}",
        r"\centering",
        rf"\includegraphics[width=\textwidth]{{{name}.pdf}}",
        rf"\caption{{{escape(caption)}}}",
        rf"\label{{fig:{name}}}",
        r"\end{figure*}",
    ]
    return "\n".join(lines) + "\n"
