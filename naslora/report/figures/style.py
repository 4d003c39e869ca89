"""One look for all figures, and one way to save them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from naslora.core.files import write_bytes

# Okabe and Ito's palette: told apart with any of the common colour-vision deficiencies.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
# The paper's own methods; the first, which is drawn over the second, is dashed in curves.
SEARCHED = {"nas_pc_lora": COLOURS[0], "nas_lora": COLOURS[1]}
SEARCHED_DASHES: Mapping[str, Literal["-", "--"]] = {"nas_pc_lora": "--", "nas_lora": "-"}
OTHERS, PAPER = "#8C8C8C", "#000000"

_STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so the same on every machine
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "lines.linewidth": 1.5,
    "legend.frameon": False,
    "figure.dpi": 150,
    "savefig.dpi": 150,
    "figure.facecolor": "white",
    "pdf.fonttype": 42,  # text as text, which some publishers ask for
}


@contextmanager
def figure(width: float, height: float) -> Iterator[Figure]:
    """An empty figure of a size in inches, in the project's style, whatever the user's own."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        canvas = Figure(figsize=(width, height))
        FigureCanvasAgg(canvas)
        yield canvas


def save_png(canvas: Figure, path: Path) -> None:
    """Write a figure as PNG; the same figure gives the same bytes.

    Raises:
        DiskError: the file cannot be written.
    """
    buffer = io.BytesIO()
    canvas.savefig(buffer, format="png", metadata={"Software": None})
    write_bytes(path, buffer.getvalue())


def save_figure(canvas: Figure, path: Path) -> None:
    """Write a figure as PNG, and beside it as PDF for papers; the same figure, the same bytes.

    Raises:
        DiskError: a file cannot be written.
    """
    save_png(canvas, path)
    buffer = io.BytesIO()
    canvas.savefig(buffer, format="pdf", metadata={"CreationDate": None, "Producer": None})
    write_bytes(path.with_suffix(".pdf"), buffer.getvalue())


def say(canvas: Figure, message: str) -> None:
    """Write why a figure shows nothing, where it would be."""
    canvas.text(0.5, 0.5, message, ha="center", va="center", color="0.35", wrap=True)
