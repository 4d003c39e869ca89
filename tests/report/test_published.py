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


def cells_of(text: str) -> dict[tuple[str, str], str]:
    """The cells of a Markdown table, by row and column."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    (_, *columns), _, *rows = [[cell.strip() for cell in line] for line in lines]
    return {
        (first.strip("*"), column): cell
        for first, *cells in rows
        for column, cell in zip(columns, cells, strict=True)
    }


@pytest.mark.slow
def test_tables_follow_from_the_records(tmp_path: Path) -> None:
    shutil.copytree(PUBLISHED, tmp_path / "sample", ignore=shutil.ignore_patterns("tables"))
    study = load_study("sample", {"results": str(tmp_path)}, ROOT / "config")
    write_tables(study, ["all"])
    made = {path.name: path.read_bytes() for path in Layout.of(study).tables.iterdir()}
    published = {path.name: path.read_bytes() for path in (PUBLISHED / "tables").iterdir()}
    assert made.keys() == published.keys()
    assert [name for name in made if made[name] != published[name]] == []


@pytest.mark.parametrize("page", ["README.md", "docs/results/sample.md"])
def test_pages_show_the_published_numbers(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    shown = re.search(r"<!-- overview: begin -->\n(.*?)<!-- overview: end -->", text, re.DOTALL)
    assert shown
    table = (PUBLISHED / "tables" / "overview.md").read_text(encoding="utf-8")
    published = cells_of(table.split("\n\n")[2])
    cells = cells_of(shown[1])
    assert len(cells) > 100
    assert [place for place in cells if cells[place] != published[place]] == []


def test_no_image_is_published() -> None:
    """Terms of the data sets forbid pictures of images; tables, records and plots are free."""
    assert not [path for path in PUBLISHED.rglob("*") if path.name in ("prepared", "resized")]
