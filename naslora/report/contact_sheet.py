"""A picture of what the benchmarks' generators draw.

python -m naslora.report.contact_sheet docs/generated.png
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from naslora.data.benchmarks.contract import Benchmark, benchmark_names, get_benchmark
from naslora.data.generated import drawing_of
from naslora.data.masks import Labels
from naslora.report.figures.style import COLOURS, figure, save_png
from naslora.synthetic.streams import streams

IMAGES = 3
_ACROSS = 3  # benchmarks in a row
_PIXELS = 150  # of an image's side
_DPI = 150
_GAP, _SPACE, _TITLE, _CAPTION = 0.04, 0.16, 0.26, 0.3  # inches
_SEED = 7


def draw_contact_sheet(names: Sequence[str], path: Path) -> None:
    """Draw three images of each benchmark, their middle squares, with the outlines of the masks.

    Raises:
        SettingsError: there is no such benchmark.
        DiskError: the file cannot be written.
    """
    benchmarks = [get_benchmark(name) for name in names]
    side = _PIXELS / _DPI
    block = IMAGES * (side + _GAP) - _GAP
    columns = min(_ACROSS, len(benchmarks))
    rows = -(-len(benchmarks) // columns)
    width = columns * (block + _SPACE) + _SPACE
    height = rows * (side + _TITLE + _GAP) + _CAPTION
    with figure(width, height) as canvas:
        for position, benchmark in enumerate(benchmarks):
            row, column = divmod(position, columns)
            left = _SPACE + column * (block + _SPACE)
            top = height - row * (side + _TITLE + _GAP)
            canvas.text(left / width, (top - _TITLE + 0.06) / height, benchmark.title, va="bottom")
            for index, panel in enumerate(_panels(benchmark, position)):
                x, y = left + index * (side + _GAP), top - _TITLE - side
                axes = canvas.add_axes((x / width, y / height, side / width, side / height))
                axes.imshow(panel, aspect="auto", interpolation="none")
                axes.set_axis_off()
        canvas.text(
            _SPACE / width,
            0.09 / height,
            "Generated images. Outlines are those of the masks: white, or a colour for each class.",
            fontsize=7,
        )
        save_png(canvas, path)


def _panels(benchmark: Benchmark, position: int) -> list[NDArray[np.uint8]]:
    """Drawn images of a benchmark as squares with outlines, uint8 (150, 150, 3)."""
    drawn = []
    draw = drawing_of(benchmark)
    for rng in streams(_SEED, IMAGES, position):
        pixels, labels = draw(rng)
        image = np.array(_square(Image.fromarray(pixels), Image.Resampling.LANCZOS))
        small = np.array(_square(Image.fromarray(labels), Image.Resampling.NEAREST))
        drawn.append(_outlined(image, small, len(benchmark.classes) > 1))
    return drawn


def _square(image: Image.Image, how: Image.Resampling) -> Image.Image:
    side = min(image.size)
    left, top = ((length - side) // 2 for length in image.size)
    return image.resize((_PIXELS, _PIXELS), how, box=(left, top, left + side, top + side))


def _outlined(image: NDArray[np.uint8], labels: Labels, coloured: bool) -> NDArray[np.uint8]:
    """Paint along the inside of each region, and darken what is just beyond it."""
    edges = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        for step in (1, -1):
            edges |= labels != np.roll(labels, step, axis)
    edges[[0, -1]] = edges[:, [0, -1]] = False
    inner, outer = edges & (labels > 0), edges & (labels == 0)
    result = image.copy()
    result[ndimage.binary_dilation(outer) & (labels == 0)] //= 2
    for label in np.unique(labels[inner]):
        line = inner & (labels == label)
        colour = to_rgb(COLOURS[(label - 1) % len(COLOURS)] if coloured else "#FFFFFF")
        if coloured:  # no colour stands out as white does
            line = ndimage.binary_dilation(line) & (labels == label)
        result[line] = np.round(np.multiply(colour, 255))
    return np.asarray(result, np.uint8)


if __name__ == "__main__":
    draw_contact_sheet(benchmark_names(), Path(sys.argv[1]))
