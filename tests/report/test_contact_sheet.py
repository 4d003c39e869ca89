from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from naslora.core.errors import SettingsError
from naslora.data.benchmarks.contract import benchmark_names, get_benchmark
from naslora.report import contact_sheet
from naslora.report.contact_sheet import draw_contact_sheet
from naslora.report.figures.style import COLOURS


def test_the_same_picture_each_time(tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        draw_contact_sheet(["kvasir", "leaf"], tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    two = Image.open(tmp_path / "one.png")
    draw_contact_sheet(["kvasir"], tmp_path / "one.png")
    one = Image.open(tmp_path / "one.png")
    assert two.height == one.height
    assert two.width > 1.9 * one.width - 50
    with pytest.raises(SettingsError, match="no benchmark named 'leav'"):
        draw_contact_sheet(["leav"], tmp_path / "one.png")


@pytest.mark.parametrize("name", benchmark_names())
def test_outlines_follow_the_masks(name: str) -> None:
    """Every painted pixel lies inside a region and within two pixels of its edge."""
    benchmark = get_benchmark(name)
    labels = np.zeros((150, 150), np.uint8)
    labels[40:80, 30:90] = 1
    last = max(len(benchmark.classes) - 1, 1)
    labels[100:, 100:] = last
    grey = np.full((150, 150, 3), 90, np.uint8)
    drawn = contact_sheet._outlined(grey, labels, len(benchmark.classes) > 1)
    changed = (drawn != grey).any(axis=2)
    assert changed[40, 30:90].all()
    assert changed[79, 30:90].all()
    assert changed[100, 100:149].all()
    assert not changed[60, 34:86].any(), "the inside stays"
    assert not changed[:36].any(), "the outside stays"
    colour = drawn[40, 60].tolist()
    wanted = "#FFFFFF" if len(benchmark.classes) == 1 else COLOURS[0]
    assert colour == [int(wanted[i : i + 2], 16) for i in (1, 3, 5)]
    if last > 1:
        assert drawn[100, 120].tolist() != colour


def test_every_benchmark_draws_a_mask() -> None:
    for position, name in enumerate(benchmark_names()):
        panels = contact_sheet._panels(get_benchmark(name), position)
        assert [panel.shape for panel in panels] == [(150, 150, 3)] * contact_sheet.IMAGES
        assert len({panel.tobytes() for panel in panels}) == contact_sheet.IMAGES
