"""The published results of `sample`: tables follow from records, and pages show the same."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from naslora.report.tables.catalogue import write_tables
from naslora.study.layout import Layout
from naslora.study.settings import load_study

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "results" / "sample"


def rows_of(text: str) -> dict[str, list[str]]:
    """The cells of the lines of Markdown tables, by their first cell."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {first.strip("*"): rest for first, *rest in cells}


@pytest.mark.slow
def test_tables_follow_from_the_records(tmp_path: Path) -> None:
    shutil.copytree(PUBLISHED, tmp_path / "sample", ignore=shutil.ignore_patterns("tables"))
    study = load_study("sample", {"results": str(tmp_path)}, ROOT / "config")
    write_tables(study, ["all"])
    made = {path.name: path.read_bytes() for path in Layout.of(study).tables.iterdir()}
    published = {path.name: path.read_bytes() for path in (PUBLISHED / "tables").iterdir()}
    assert made.keys() == published.keys()
    assert [name for name in made if made[name] != published[name]] == []


@pytest.mark.parametrize("page", ["README.md"])
def test_pages_show_the_published_numbers(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    shown = re.search(r"<!-- overview: begin -->\n(.*?)<!-- overview: end -->", text, re.DOTALL)
    assert shown
    published = rows_of((PUBLISHED / "tables" / "overview.md").read_text(encoding="utf-8"))
    header, *rows = rows_of(shown[1]).items()
    assert len(rows) >= 14
    for title, cells in rows:
        assert cells == published[title][: len(cells)], title
    assert header[1] == published["Method"][: len(header[1])]


def test_no_image_is_published() -> None:
    """Terms of the data sets forbid pictures of images; tables, records and plots are free."""
    assert not [path for path in PUBLISHED.rglob("*") if path.name in ("prepared", "resized")]
