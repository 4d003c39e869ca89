"""The look of all figures: size, theme, and one colour, marker and dash per method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from naslora.paper.published import NAS_METHODS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from naslora.study.settings import Study

# Text width of a two-column page in inches. Every figure is this wide, so that included at full
# width its text has the size that it has here.
WIDTH = 6.875
SMALL, NORMAL, LARGE = 6.0, 6.5, 7.5  # points

# Okabe and Ito's palette, distinguishable with all common deficiencies of colour vision.
BLACK, ORANGE, SKY_BLUE, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"

# In pictures of masks a colour means one thing: right, missed or false foreground of a binary task,
# a prompt, or a class of a task with several.
RIGHT, MISSED, FALSE_ALARM, PROMPT = "#FFFFFF", BLUE, ORANGE, YELLOW
# Foreground classes of all tasks of a study, in their order: Trans10K-v1 has two, v2 eleven. So
# many are hard to tell apart; galleries also write the number of its class into each region.
CLASS_COLOURS = (
    *(GREEN, "#956AFF", SKY_BLUE, VERMILLION, "#AA1540", "#AAEAAA", PURPLE, "#FFD4FF"),
    *("#006A55", "#954080", "#6AD4D4", "#AAAA6A", "#7A4B1E"),
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
    "deeplabv3": MethodStyle("#D40040", "8", (3, 1, 1, 1)),
    "linknet34": MethodStyle("#FFAA80", "8", (1, 1)),
}
# For other methods and for variants, in the order of the study.
_FURTHER = (
    MethodStyle("#956AFF", "H", (1, 1.5)),
    MethodStyle("#00C8C8", "d", (1, 1.5)),
    MethodStyle("#6A00FF", "p", (1, 1.5)),
    MethodStyle("#9CCB3B", "h", (1, 1.5)),
)
# Drawn last, and therefore on top.
HIGHLIGHTED = ("lora", *NAS_METHODS)


def method_styles(methods: Sequence[str]) -> dict[str, MethodStyle]:
    """The style of each method of a study; those in `METHOD_STYLES` are the same in all studies."""
    others = [method for method in methods if method not in METHOD_STYLES]
    further = {method: _FURTHER[i % len(_FURTHER)] for i, method in enumerate(others)}
    return {method: METHOD_STYLES.get(method) or further[method] for method in methods}


def study_styles(study: Study) -> dict[str, MethodStyle]:
    """The style of every row that a study trains, the same in all of its figures."""
    return method_styles([*study.methods, *study.general_variants(), *study.networks])


def class_colours(classes: int, before: int = 0) -> tuple[str, ...]:
    """The colours of a task's foreground classes; after the last, colours repeat.

    Args:
        classes: how many foreground classes the task has; 0 for a binary task.
        before: how many the tasks before it have.
    """
    places = range(before, before + classes)
    return tuple(CLASS_COLOURS[place % len(CLASS_COLOURS)] for place in places)


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


def panel_rows(canvas: Figure, heights: Sequence[float], across: int) -> NDArray[Any]:
    """Panels in rows of relative heights; those of a row share their y axis.

    Returns:
        (rows, across) axes.
    """
    return canvas.subplots(
        len(heights),
        across,
        sharey="row",
        squeeze=False,
        gridspec_kw={"height_ratios": [*heights]},
    )
