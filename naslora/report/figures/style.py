"""The look of all figures: size, theme, and one colour, marker and dash per method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from naslora.paper.published import NAS_METHODS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Text width of a two-column page in inches. Every figure is this wide, so that included at full
# width its text has the size that it has here.
WIDTH = 6.875
SMALL, NORMAL, LARGE = 6.0, 6.5, 7.5  # points

# Okabe and Ito's palette, distinguishable with all common deficiencies of colour vision.
BLACK, ORANGE, SKY_BLUE, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"

# Foreground classes, in their order. Okabe and Ito's colours come first; eleven classes need more,
# so that figures also write the number of its class into each region.
CLASS_COLOURS = (
    *(ORANGE, SKY_BLUE, VERMILLION, GREEN, YELLOW, BLUE, PURPLE),
    *("#BBBBBB", "#882255", "#44AA99", "#8C6D31"),
)


@dataclass(frozen=True)
class MethodStyle:
    """The style of a method in all figures.

    Attributes:
        colour: of its lines, markers and bars.
        marker: matplotlib's code.
        dash: lengths of dashes and gaps, in line widths; empty for a solid line.
    """

    colour: str
    marker: str
    dash: tuple[float, ...] = ()


METHOD_STYLES: Mapping[str, MethodStyle] = {
    "scratch": MethodStyle("#AAAAAA", "X", (1, 1)),
    "full_finetuning": MethodStyle("#AA4499", "*", (1, 1)),
    "decoder_only": MethodStyle("#666666", "P", (1, 1)),
    "sam_adapter": MethodStyle(SKY_BLUE, "^", (4, 1.5)),
    "mona": MethodStyle("#882255", "v", (4, 1.5)),
    "bitfit": MethodStyle("#999933", "<", (4, 1, 1, 1)),
    "vpt": MethodStyle("#332288", ">", (4, 1, 1, 1)),
    "lora": MethodStyle(BLACK, "s"),
    "conv_lora": MethodStyle(GREEN, "p", (2, 1)),
    "dora": MethodStyle(PURPLE, "d", (2, 1)),
    "vera": MethodStyle(ORANGE, "h", (2, 1)),
    "nas_lora": MethodStyle(VERMILLION, "o"),
    "nas_pc_lora": MethodStyle(BLUE, "D", (3, 1)),
    "unet": MethodStyle("#7A4B1E", "8", (5, 1)),
}
# For other methods and networks, in the order of the study.
_FURTHER = (
    MethodStyle("#44AA99", "H", (1, 1.5)),
    MethodStyle("#DDCC77", "d", (1, 1.5)),
    MethodStyle("#661100", "p", (1, 1.5)),
    MethodStyle("#6699CC", "h", (1, 1.5)),
)
# Drawn last, and therefore on top.
HIGHLIGHTED = ("lora", *NAS_METHODS)


def method_styles(methods: Sequence[str]) -> dict[str, MethodStyle]:
    """The style of each method of a study; those in `METHOD_STYLES` are the same in all studies."""
    others = [method for method in methods if method not in METHOD_STYLES]
    further = {method: _FURTHER[i % len(_FURTHER)] for i, method in enumerate(others)}
    return {method: METHOD_STYLES.get(method) or further[method] for method in methods}


def legend_columns(entries: int) -> int:
    """How many columns a legend under a figure has: two lines of up to eight entries."""
    return min(max(6, -(-entries // 2)), 8)


def in_drawing_order(methods: Sequence[str]) -> list[str]:
    """Methods in the order in which lines are drawn: `HIGHLIGHTED` ones last, on top of others."""
    return sorted(methods, key=lambda method: method in HIGHLIGHTED)


@contextmanager
def figure(height: float, width: float = WIDTH, dpi: int = 200) -> Iterator[Figure]:
    """An empty figure of a size in inches, in the project's theme instead of the user's own."""
    import matplotlib
    import seaborn as sns
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        sns.set_theme(context="paper", style="ticks", font="DejaVu Sans", rc=_THEME)
        canvas = Figure(figsize=(width, height), dpi=dpi)
        FigureCanvasAgg(canvas)
        yield canvas


# DejaVu Sans comes with matplotlib, so that a figure is the same on every machine.
_THEME: dict[str, Any] = {
    "font.size": NORMAL,
    "axes.titlesize": LARGE,
    "axes.titlepad": 3,
    "axes.labelsize": NORMAL,
    "axes.labelpad": 2,
    "legend.fontsize": NORMAL,
    "legend.title_fontsize": NORMAL,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.major.pad": 2,
    "ytick.major.pad": 2,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": "0.2",
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.0,
    "lines.markersize": 4,
    "patch.linewidth": 0.5,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.dpi": "figure",
    "pdf.fonttype": 42,  # text as text, which some publishers ask for
}
