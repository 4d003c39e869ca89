from __future__ import annotations

import json
import math
import re
import shutil
import statistics
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy import stats

from naslora.paper.published import Printed
from naslora.report.tables.cells import Cell, Verdict
from naslora.report.tables.comparability import why_not_comparable
from naslora.report.tables.writers import SUFFIXES, csv_text, markdown_text
from naslora.results.aggregate import aggregate
from naslora.results.reading import Problem
from naslora.study.layout import Layout
from naslora.study.records import CONTROLS
from naslora.study.settings import Study, load_study
from tests.report.tables.of_table1 import latex_of, markdown, rows_of, section, table1, write_table1

CONFIG = Path(__file__).parents[3] / "config"
WriteRun = Callable[..., Path]


def test_numbers_from_per_image_files(full_study: Study) -> None:
    table = rows_of(full_study)
    records = Layout.of(full_study).records / "kvasir"
    for method in full_study.methods:
        for key, metric in (("kvasir_S", "S_measure"), ("kvasir_E", "E_measure")):
            files = sorted((records / method).glob("*.parquet"))
            values = [100 * pd.read_parquet(file)[metric].mean() for file in files]
            row = table[method]
            assert float(row[f"{key}_mean"]) == pytest.approx(sum(values) / 3, abs=1e-9)
            assert float(row[f"{key}_std"]) == pytest.approx(statistics.stdev(values), abs=1e-9)
            assert row[f"{key}_n"] == "3"
    lora = table["lora"]
    assert float(lora["trainable_params_m"]) == 4.001
    assert float(lora["ratio_pct"]) == pytest.approx(4.001)
    assert (lora["paper_params_m"], lora["kvasir_S_paper"]) == ("4.00", "91.2")
    assert float(lora["kvasir_S_difference"]) == pytest.approx(66 - 91.2)
    assert lora["kvasir_S_verdict"] == "not comparable"


def test_controls_come_first_and_methods_in_order(full_study: Study) -> None:
    assert list(rows_of(full_study)) == [*CONTROLS, "Domain Specific", *full_study.methods]
    text = markdown(full_study)
    assert text.index("*Blank mask*") < text.index("*Mean training mask*") < text.index("| Decoder")
    blank = rows_of(full_study)["control_blank"]
    assert (blank["group"], blank["kvasir_S_n"], blank["kvasir_S_std"]) == ("control", "1", "")
    assert blank["kvasir_S_verdict"] == "not printed"


def test_empty_study_is_all_dashes(study: Study) -> None:
    table = rows_of(study)
    assert {row["kvasir_S_mean"] for row in table.values()} == {""}
    assert {row["kvasir_S_status"] for row in table.values()} == {"missing", "cited"}
    assert table["lora"]["kvasir_S_verdict"] == "missing"
    text = markdown(study)
    assert text.count("\N{EN DASH} (missing)") == 2 * (len(CONTROLS) + len(study.methods))
    assert "No control is evaluated: Kvasir S, Kvasir E (mean)." in text
    assert not re.search(r"\b0\.0\b", section(text, "Measured here"))


def test_missing_diverged_and_left_out_seeds(full_study: Study, write_run) -> None:  # type: ignore[no-untyped-def]
    layout = Layout.of(full_study)
    layout.record("kvasir", "lora", 1).unlink()
    for seed in full_study.seeds:
        write_run(full_study, "nas_lora", seed, status="diverged")
    layout.record("kvasir", "nas_pc_lora", 0).write_text("{")
    write_run(full_study, "nas_pc_lora", 2, status="failed")
    table = rows_of(full_study)
    assert (table["lora"]["kvasir_S_n"], table["lora"]["kvasir_S_status"]) == (
        "2",
        "1 missing of 3",
    )
    assert table["nas_lora"]["kvasir_S_mean"] == ""
    assert table["nas_lora"]["kvasir_S_status"] == "diverged"
    assert table["nas_lora"]["kvasir_S_verdict"] == "missing"
    assert table["nas_pc_lora"]["kvasir_S_status"] == "1 failed, 1 left out of 3"
    assert table["nas_pc_lora"]["kvasir_S_std"] == ""
    text = markdown(full_study)
    assert "\N{EN DASH} (diverged)" in text
    assert "66.0 ± 1.4 (n=2)" in text
    assert table["nas_lora"]["trainable_params_m"] == "4.0"
    assert "- NAS-LoRA: diverged.\n" in section(text, "Not done")
    assert "`records/kvasir/nas_pc_lora/seed0.json`" in section(text, "Records left out")


def test_seed_that_the_study_no_longer_has_is_not_counted(full_study: Study, make_study) -> None:  # type: ignore[no-untyped-def]
    fewer = make_study(full_study.results, seeds=[0, 2])
    row = rows_of(fewer)["lora"]
    assert (row["kvasir_S_n"], row["kvasir_S_status"]) == ("2", "done")
    assert float(row["kvasir_S_mean"]) == pytest.approx(100 * (0.65 + 0.67) / 2)


PAPER = {
    "sam.backbone": "vit_h",
    "sam.image_size": 1024,
    "sam.checkpoint": "official",
    "training.epochs": 40,
    "training.learning_rate": 1e-4,
    "training.decay_start": 1.0,
    "training.architecture.start_epoch": 10,
}


def test_what_is_not_comparable(study: Study, make_study, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert len(why_not_comparable(study, "kvasir")) == len(PAPER)
    assert why_not_comparable(load_study("paper", config=CONFIG), "kvasir") == []
    other = make_study(tmp_path, **PAPER, method_settings={"lora": {"rank": 24}})
    assert why_not_comparable(other, "kvasir") == ["method_settings changes lora"]
    alike = make_study(tmp_path, **PAPER)
    assert why_not_comparable(alike, "kvasir") == []
    made = make_study(tmp_path, **PAPER, generated={"kvasir": 9})
    assert why_not_comparable(made, "kvasir") == ["the images are generated"]


def test_the_cells_of_the_rows_are_stated(make_study, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Linear ones, which merge; or those with the paper's counts, and linear ones beside them."""
    own = make_study(tmp_path / "own")
    assert "- nas_lora and nas_pc_lora: linear cells on the fused qkv, which merge." in markdown(
        own
    )
    paper = load_study("paper", {"results": str(tmp_path), "tasks": ["kvasir"]})
    text = markdown(paper)
    assert "- nas_lora and nas_pc_lora: cells on q and on v with the operations of DARTS" in text
    assert "linear cells on the fused qkv" not in text
    rows = {row.name: row for row in table1(paper).rows}
    assert rows["nas_lora"].printed == "NAS-LoRA"
    assert rows["nas_lora_linear"].printed is None
    assert rows["nas_lora_linear"].title == "NAS-LoRA, linear"
    assert rows["nas_pc_lora_linear"].title == "NAS-PC-LoRA, linear"
    assert "Row `NAS-LoRA, linear`: nas_lora with projections None; style linear;" in text
    assert "linear is not the paper's row" not in text, "the paper has no such row"
    assert "alpha_late" not in rows  # a variant of one task has its own table


@pytest.mark.parametrize(
    ("images", "score", "verdict"),
    [
        (100, 0.912, "reproduced"),
        (100, 0.80, "differs"),
        (20, 0.912, "not comparable"),
    ],
)
def test_verdict_in_the_paper_s_setting(  # type: ignore[no-untyped-def]
    make_study, write_run, tmp_path: Path, images: int, score: float, verdict: str
) -> None:
    study = make_study(tmp_path, **PAPER)
    for seed in study.seeds:
        write_run(study, "lora", seed, (score + 0.002 * (seed - 1), 0.9, 0.8), images=images)
    row = rows_of(study)["lora"]
    assert row["kvasir_S_verdict"] == verdict
    assert ("20 images, not 100" in markdown(study)) == (images == 20)


def cell(values: tuple[float, ...], printed: str | None = "91.2", comparable: bool = True) -> Cell:
    return Cell(values, "done", Printed(printed) if printed else None, comparable)


def test_interval_equals_scipy() -> None:
    values = (90.1, 91.4, 90.8)
    low, high = stats.t.interval(
        0.95, 2, loc=statistics.fmean(values), scale=stats.sem(values, ddof=1)
    )
    assert cell(values).half_width == pytest.approx((high - low) / 2, rel=1e-9)


def test_verdict_rule_at_its_edges() -> None:
    values = (90.0, 91.0, 92.0)
    reach = cell(values).half_width
    assert reach is not None
    assert math.isclose(reach, 4.302652729749 / math.sqrt(3), rel_tol=1e-9)
    # The interval is 91 ± 2.48; the last printed digit hides another 0.05.
    assert cell(values, "93.5").verdict is Verdict.UNDECIDED
    close = (90.7, 91.0, 91.3)  # ± 0.745
    assert cell(close, "91.7").verdict is Verdict.REPRODUCED
    assert cell(close, "91.8").verdict is Verdict.DIFFERS
    assert cell(values, "93.6").verdict is Verdict.DIFFERS
    assert cell(values, "88.4").verdict is Verdict.DIFFERS
    assert cell((91.2,), "91.2").verdict is Verdict.NOT_COMPARABLE
    assert cell(values, comparable=False).verdict is Verdict.NOT_COMPARABLE
    assert cell((), "91.2").verdict is Verdict.MISSING
    assert cell(values, None).verdict is Verdict.NOT_PRINTED
    assert cell((91.25, 91.25)).verdict is Verdict.REPRODUCED


def test_same_bytes_twice(full_study: Study, tmp_path: Path) -> None:
    layout = Layout.of(full_study)
    write_table1(full_study)
    first = [layout.table("table1", suffix).read_bytes() for suffix in SUFFIXES]
    write_table1(full_study)
    assert [layout.table("table1", suffix).read_bytes() for suffix in SUFFIXES] == first
    assert all(str(tmp_path).encode() not in text for text in first)


def test_only_the_study_s_tasks_have_columns(make_study, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    study = make_study(tmp_path, tasks=["sbu", "kvasir"])
    table = table1(study)
    keys = [column.key for column in table.columns]
    assert keys == ["kvasir_S", "kvasir_E", "sbu_BER", "sbu_BER_image"]
    assert "SBU BER (set) ↓" in markdown_text(table)
    assert "sbu_BER_mean" in csv_text(table).splitlines()[0]


def test_latex_is_well_formed(full_study: Study) -> None:
    Layout.of(full_study).record("kvasir", "lora", 0).unlink()
    text = latex_of(full_study)
    plain = re.sub(r"\\[{}]", "", text)
    depth = 0
    for character in plain:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    assert text.count(r"\begin{") == text.count(r"\end{") == 3
    body = text.split(r"\toprule")[1].split(r"\bottomrule")[0]
    lines = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(lines) == 2 + len(CONTROLS) + 4 + 1 + 5
    for line in lines[1:]:
        assert line.count("&") == (0 if "multicolumn" in line else 4)
    assert text.isascii()
    assert not re.search(r"(?<!\\)[%#]", text.split("\n", 1)[1])
    assert "66.5 {\\scriptsize $\\pm$ 0.7}$_{2}$" in text  # of two seeds
    assert r"\resizebox" not in text
    assert r"\tiny" not in text


@pytest.mark.parametrize(
    "title", ["[nice] & <b>bold</b> | 50 % ^ ~ $x_1$ {}", "*", "\\\\ \\end{table}"]
)
def test_titles_are_text_and_no_markup(
    title: str, study: Study, make_study: Any, write_run: WriteRun, tmp_path: Path
) -> None:
    file = tmp_path / "mine.py"
    file.write_text("")
    own = make_study(study.results, methods=["lora", str(file)])
    path = write_run(own, "mine", 0)
    content = json.loads(path.read_text())
    del content["digest"]
    path.write_text(json.dumps({**content, "title": title}))
    text = markdown(own)
    assert "<b>" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in rows if "Method" not in line}) <= 2
    for line in latex_of(own).splitlines():
        assert not re.match(r"[\[*]", line)
        assert r"\end{table}" not in line.removesuffix(r"\end{table}")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex on this machine")
def test_latex_compiles(full_study: Study, tmp_path: Path) -> None:
    document = tmp_path / "document.tex"
    document.write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n"
        + latex_of(full_study)
        + "\\end{document}\n"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", document.name]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)


def test_left_out_record_outside_of_any_run_is_named_too(full_study: Study) -> None:
    stray = Layout.of(full_study).records / "kvasir" / "lora" / "copy.json"
    stray.write_text("{}")
    records = aggregate(full_study)
    assert [type(problem) for problem in records.problems] == [Problem]
    assert "copy.json" in markdown(full_study)
