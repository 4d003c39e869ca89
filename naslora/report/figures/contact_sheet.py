"""A picture of images from the benchmarks' generators.

python -m naslora.report.figures.contact_sheet docs/generated.png
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from naslora.core.files import write_bytes
from naslora.data.benchmarks.contract import Benchmark, benchmark_names, get_benchmark
from naslora.data.generated import drawing_of
from naslora.report.figures.overlays import Picture, boundary_overlay
from naslora.report.figures.saving import picture_bytes
from naslora.report.figures.style import WIDTH, class_colours, figure
from naslora.synthetic.streams import streams

IMAGES = 3  # of each benchmark
PIXELS = 150  # of an image's side
_ACROSS = 3  # benchmarks in a row
_GAP, _SPACE, _TITLE = 0.04, 0.14, 0.18  # inches
_SEED = 7


def draw_contact_sheet(names: Sequence[str], path: Path) -> None:
    """Draw the middle squares of three images of each benchmark, with the outlines of the masks.

    Outlines are white, or with several classes in the colours of the classes.

    Raises:
        SettingsError: there is no such benchmark.
        DiskError: the file cannot be written.
    """
    benchmarks = [get_benchmark(name) for name in names]
    block = (WIDTH + _SPACE) / _ACROSS - _SPACE
    side = (block + _GAP) / IMAGES - _GAP
    rows = -(-len(benchmarks) // _ACROSS)
    height = rows * (side + _TITLE + _SPACE / 2)
    with figure(height) as canvas:
        before = 0
        for position, benchmark in enumerate(benchmarks):
            colours = class_colours(len(benchmark.classes) - 1, before)
            before += len(colours)
            row, column = divmod(position, _ACROSS)
            left = column * (block + _SPACE)
            top = height - row * (side + _TITLE + _SPACE / 2) - _TITLE
            canvas.text(left / WIDTH, (top + 0.04) / height, benchmark.title, va="bottom")
            for index, panel in enumerate(panels(benchmark, position, colours)):
                x, y = left + index * (side + _GAP), top - side
                axes = canvas.add_axes((x / WIDTH, y / height, side / WIDTH, side / height))
                axes.imshow(panel, aspect="auto", interpolation="antialiased")
                axes.set_axis_off()
        write_bytes(path, picture_bytes(canvas, "png"))


def panels(benchmark: Benchmark, position: int, colours: Sequence[str] = ()) -> list[Picture]:
    """Drawn images of a benchmark as squares with outlines, (PIXELS, PIXELS, 3).

    Args:
        benchmark: the benchmark.
        position: selects the stream of random numbers.
        colours: of the outlines of each foreground class; without any, all are white.
    """
    drawn = []
    draw = drawing_of(benchmark)
    for rng in streams(_SEED, IMAGES, position):
        pixels, labels = draw(rng)
        image = np.asarray(_square(Image.fromarray(pixels), Image.Resampling.LANCZOS))
        small = np.asarray(_square(Image.fromarray(labels), Image.Resampling.NEAREST))
        drawn.append(boundary_overlay(image, small, colours))
    return drawn


def _square(image: Image.Image, how: Image.Resampling) -> Image.Image:
    side = min(image.size)
    left, top = ((length - side) // 2 for length in image.size)
    return image.resize((PIXELS, PIXELS), how, box=(left, top, left + side, top + side))


if __name__ == "__main__":
    draw_contact_sheet(benchmark_names(), Path(sys.argv[1]))
