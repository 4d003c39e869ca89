"""LaTeX of the paper's tables: parts, widths, and that it compiles."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from naslora.report.tables.filling import fill
from naslora.report.tables.latex import (
    COLUMN_PT,
    TEXT_PT,
    block_width,
    column_blocks,
    escape,
    latex_text,
)
from naslora.report.tables.model import TableSpec
from naslora.report.tables.notes import NOT_COMPARABLE, WHAT_WAS_MEASURED
from naslora.report.tables.overview import overview
from naslora.report.tables.table4 import table4
from naslora.report.tables.table5 import table5
from naslora.results.aggregate import Aggregate, aggregate
from naslora.study.settings import Study
from tests.report.tables.test_tables import EVERY_SPEC, SPECS


@pytest.fixture(scope="module")
def records(every_task: Study) -> Aggregate:
    return aggregate(every_task)


@EVERY_SPEC
def test_latex_has_as_many_fields_in_every_line(
    spec: TableSpec, every_task: Study, records: Aggregate
) -> None:
    """In every part, which together have all columns once; and no part is wider than the page."""
    table = fill(spec, every_task, records)
    text = latex_text(table)
    assert text.isascii()
    bodies = [part.split(r"\bottomrule")[0] for part in text.split(r"\toprule")[1:]]
    blocks = column_blocks(table)
    assert [index for block in blocks for index in block] == list(range(len(spec.columns)))
    assert len(bodies) == len(blocks)
    for number, (body, block) in enumerate(zip(bodies, blocks, strict=True)):
        width = (3 if spec.parameters and not number else 1) + len(block)
        for line in body.splitlines():
            if line.endswith(r"\\") and "multicolumn" not in line:
                assert len(re.split(r"(?<!\\)&", line)) == width
        assert block_width(table, block, first=not number) <= TEXT_PT
        assert len(body.splitlines()) < 50  # at 9.5 pt a line, a page
    assert r"\resizebox" not in text
    ruled = re.findall(r"\\cmidrule\(lr\)\{(\d+)-(\d+)\}", text)
    assert all(first < last for first, last in (map(int, one) for one in ruled))


def test_a_narrow_table_fits_one_column_of_a_page(every_task: Study, records: Aggregate) -> None:
    whole = fill(SPECS["table6"], every_task, records)
    rows = tuple(replace(row, cells=row.cells[:1]) for row in whole.rows)
    narrow = replace(whole, columns=whole.columns[:1], rows=rows, marked=whole.marked[:1])
    assert latex_text(narrow).count(r"\begin{table}") == 1
    wide = latex_text(fill(SPECS["table1"], every_task, records))
    assert wide.count(r"\begin{table*}") > 1


def test_a_long_head_needs_its_width(every_task: Study, records: Aggregate) -> None:
    table = fill(SPECS["table6"], every_task, records)
    columns = tuple(replace(column, head="M" * 60) for column in table.columns[:1])
    short, long = (
        block_width(replace(table, columns=found), [0], first=False)
        for found in (table.columns[:1], columns)
    )
    assert long > short
    assert long > 60 * 4


def test_tables_4_and_5_say_what_was_measured(every_task: Study) -> None:
    for table in (table4(every_task), table5(every_task)):
        sections, text = dict(table.sections), latex_text(table)
        for line in (*sections[WHAT_WAS_MEASURED], *sections.get(NOT_COMPARABLE, ())[:1]):
            assert escape(line) in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex on this machine")
def test_all_of_them_compile(every_task: Study, records: Aggregate, tmp_path: Path) -> None:
    specs = [*SPECS.values(), overview(every_task)]
    tables = [latex_text(fill(spec, every_task, records)) for spec in specs]
    tables += [latex_text(table4(every_task)), latex_text(table5(every_task))]
    gap = TEXT_PT - 2 * COLUMN_PT
    head = (
        "\\documentclass[10pt,twocolumn]{article}\\usepackage{booktabs}\n"
        f"\\setlength{{\\textwidth}}{{{TEXT_PT}pt}}\\setlength{{\\columnsep}}{{{gap}pt}}\n"
        "\\begin{document}\n"
    )
    (tmp_path / "all.tex").write_text(head + "\\clearpage\n".join(tables) + "\\end{document}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout


def test_captions_leave_the_number_to_latex(every_task: Study, records: Aggregate) -> None:
    captions = re.findall(
        r"\\caption\{(.*)\}", latex_text(fill(SPECS["table1"], every_task, records))
    )
    assert captions
    for number, caption in enumerate(captions, start=1):
        assert caption.startswith("Binary semantic segmentation; study ")
        assert f"(the paper's Table 1) (part {number} of {len(captions)})" in caption
