"""The published results of `sample`: tables follow from records, and pages show the same."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from naslora.report.tables.markdown import DASH
from naslora.study.records import CONTROLS
from tests.project import copy_project

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
    """The command of docs/results/sample.md, in a copy without tables, figures and images."""
    project = tmp_path / "project"
    copy_project(project)
    made = project / "results" / "sample"
    products = shutil.ignore_patterns("tables", "figures", "metrics", "report.html", "logs")
    shutil.copytree(PUBLISHED, made, ignore=products)
    before = {path for path in made.rglob("*") if path.is_file()}
    command = "snakemake --profile local all_tables --config study=sample"
    tools = str(Path(sys.executable).parent)
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(command)],
        cwd=project,
        env={**os.environ, "PATH": os.pathsep.join([tools, os.environ["PATH"]])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("tables", "metrics"):
        published, again = (
            {path.name: path.read_bytes() for path in (folder / name).glob("[!.]*")}
            for folder in (PUBLISHED, made)
        )
        assert again.keys() == published.keys()
        assert [one for one in again if again[one] != published[one]] == []
    assert not (made / "runs").exists()
    assert before <= {path for path in made.rglob("*") if path.is_file()}


@pytest.mark.parametrize("page", ["README.md", "docs/results/sample.md"])
def test_pages_show_the_published_numbers(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    shown = re.search(r"<!-- overview: begin -->\n(.*?)<!-- overview: end -->", text, re.DOTALL)
    assert shown
    table = (PUBLISHED / "tables" / "overview.md").read_text(encoding="utf-8")
    published = cells_of(table.split("\n\n")[2])
    cells = cells_of(shown[1])
    if page == "README.md":  # which has a row for each data set, and no standard deviations
        cells = {(row, column): cell for (column, row), cell in cells.items()}
        published = {place: re.sub(r" ± [\d.]+", "", cell) for place, cell in published.items()}
        for place in {column for _, column in published}:
            scores = [published[title, place] for title in CONTROLS.values()]
            best = (max if "↑" in place else min)(scores, key=float) if place != "Standing" else ""
            published["Without the image", place] = best
    assert len(cells) >= 56
    for place, cell in cells.items():
        assert cell == re.sub(rf"^{DASH} \(.*\)$", DASH, published[place]), place


@pytest.mark.parametrize("path", sorted((PUBLISHED / "tables").glob("*.csv")), ids=lambda p: p.stem)
def test_remarks_on_rows_agree_with_the_daggers_of_their_cells(path: Path) -> None:
    """A row is no better than the best control if this is so in each of its columns."""
    table = pd.read_csv(path, dtype=str).fillna("")
    flagged = [name for name in table if name.endswith("_no_better_than")]
    if "control" not in set(table.get("group", ())):
        return
    for _, row in table[table["group"] == "method"].iterrows():
        cells = [row[name] for name in flagged if row[name.removesuffix("no_better_than") + "mean"]]
        said = any(
            f"no better than {title.lower()}" in row["standing"] for title in CONTROLS.values()
        )
        assert said == (bool(cells) and all("control" in cell for cell in cells)), row["title"]


def test_the_difference_of_the_page_follows_from_the_records(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the page says of Mona and the LoRA of its size on Kvasir is what its code prints."""
    page = (ROOT / "docs" / "results" / "sample.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    said = re.search(r"Mona is better on Kvasir \(\+(\S+) ± (\S+) / (\S+)\)", page)
    assert code
    assert said
    monkeypatch.chdir(ROOT)
    exec(code[1], {})
    mean, *ends = map(float, re.findall(r"[\d.]+", capsys.readouterr().out))
    halves = [(high - low) / 2 for low, high in zip(ends[::2], ends[1::2], strict=True)]
    assert [f"{value:.1f}" for value in (mean, *halves)] == list(said.groups())


def test_the_page_has_the_published_figure() -> None:
    figure = PUBLISHED / "figures" / "ranking.png"
    assert (ROOT / "docs" / "results" / "ranking.png").read_bytes() == figure.read_bytes()


def test_no_image_is_published() -> None:
    """Terms of the data sets forbid pictures of images; tables, records and plots are free."""
    assert not [path for path in PUBLISHED.rglob("*") if path.name in ("prepared", "resized")]
