from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from naslora.core.errors import SettingsError
from naslora.data.benchmarks.contract import benchmark_names, get_benchmark
from naslora.report.figures.contact_sheet import IMAGES, PIXELS, draw_contact_sheet, panels


def test_the_same_picture_each_time(tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        draw_contact_sheet(["kvasir", "leaf"], tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    row = Image.open(tmp_path / "one.png")
    draw_contact_sheet(["kvasir"] * 4, tmp_path / "one.png")
    rows = Image.open(tmp_path / "one.png")
    assert row.width == rows.width
    assert rows.height == pytest.approx(2 * row.height, abs=2)
    with pytest.raises(SettingsError, match="no benchmark named 'leav'"):
        draw_contact_sheet(["leav"], tmp_path / "one.png")


def test_every_benchmark_draws_a_mask() -> None:
    for position, name in enumerate(benchmark_names()):
        found = panels(get_benchmark(name), position)
        assert [panel.shape for panel in found] == [(PIXELS, PIXELS, 3)] * IMAGES
        assert len({panel.tobytes() for panel in found}) == IMAGES
