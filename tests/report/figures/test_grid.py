"""Grids of pictures: many columns, long labels, and rows that take several lines."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from naslora.report.figures.grid import Cell, Row, draw_grid
from tests.report.figures.conftest import Drawn
from tests.report.figures.pages import check_page

HEADINGS = ["Image", "Truth", "U-Net (scratch)", "SAM (scratch)", "Decoder-only", "SAM-Adapter"]
HEADINGS += [
    "Mona",
    "BitFit",
    "VPT",
    "LoRA",
    "Conv-LoRA",
    "DoRA",
    "VeRA",
    "NAS-LoRA",
    "NAS-PC-LoRA",
]
LABELS = ("CVC-ClinicDB\nS", "SBU\nBER (image mean)", "Trans10K-v1, easy\nmIoU (foreground)")


def row(label: str, shape: tuple[int, int]) -> Row:
    picture = np.zeros((*shape, 3))
    return Row(label, [Cell(picture, note="100.0") for _ in HEADINGS])


@pytest.mark.parametrize("across", [None, 8])
@pytest.mark.parametrize("shape", [(9, 16), (16, 9)])
def test_labels_of_many_columns_are_apart(across: int | None, shape: tuple[int, int]) -> None:
    rows = [row(label, shape) for label in LABELS]
    with draw_grid(rows, HEADINGS, across=across) as canvas:
        canvas.draw_without_rendering()
        check_page("grid", Drawn(canvas, "A grid.", pd.DataFrame({"a": [1]})))


@pytest.mark.parametrize(("most", "lines"), [(8, [8, 7]), (7, [5, 5, 5]), (15, [15]), (None, [15])])
def test_lines_are_as_full_as_each_other(most: int | None, lines: list[int]) -> None:
    with draw_grid([row("best", (4, 4))], HEADINGS, across=most) as canvas:
        tops = [round(image.get_extent()[3], 6) for image in canvas.axes[0].get_images()]
    assert [tops.count(top) for top in sorted(set(tops), reverse=True)] == lines
