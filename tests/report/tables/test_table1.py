from __future__ import annotations

import csv
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
from naslora.report.tables.filling import fill, write_filled
from naslora.report.tables.model import Table
from naslora.report.tables.table1 import TABLE
from naslora.report.tables.writers import SUFFIXES, csv_text, markdown_text
from naslora.results.aggregate import aggregate
from naslora.results.reading import Problem
from naslora.study.layout import Layout
from naslora.study.records import CONTROLS
from naslora.study.settings import Study, load_study

CONFIG = Path(__file__).parents[3] / "config"
WriteRun = Callable[..., Path]


def table1(study: Study) -> Table:
    return fill(TABLE, study, aggregate(study))


def write_table1(study: Study) -> None:
    write_filled(TABLE, study, aggregate(study))


def rows_of(study: Study) -> dict[str, dict[str, str]]:
    write_table1(study)
    text = Layout.of(study).table("table1", "csv").read_text()
    return {row["method"]: row for row in csv.DictReader(text.splitlines())}


def markdown(study: Study) -> str:
    return markdown_text(table1(study))


def section(text: str, title: str) -> str:
    return text.split(f"## {title}\n")[1].split("\n## ")[0]


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


def test_standing_against_the_controls(study: Study, write_run) -> None:  # type: ignore[no-untyped-def]
    write_run(study, "control_blank", 0, (0.40, 0.30, 0.1))
    write_run(study, "control_foreground", 0, (0.20, 0.30, 0.2))
    write_run(study, "control_mean_mask", 0, (0.70, 0.73, 0.3))
    write_run(study, "control_mean_mask_best", 0, (0.69, 0.72, 0.3))
    spread = {"decoder_only": 0.60, "lora": 0.70, "nas_lora": 0.80}
    for method, base in spread.items():
        for seed in study.seeds:
            write_run(study, method, seed, (base + 0.01 * (seed - 1), base, base))
    text = markdown(study)
    lines = section(text, "What a method must beat")
    assert (
        "- Best prediction that looks at no image: Mean training mask: Kvasir S 70.0, "
        "Kvasir E (mean) 73.0.\n"
    ) in lines
    assert "- Decoder-only: no better than mean training mask.\n" in lines
    assert "- NAS-LoRA: " not in lines
    ours = {
        line.split("|")[1].strip(): line
        for line in section(text, "Measured here").splitlines()
        if line.startswith("|")
    }
    assert ours["Decoder-only"].count("†") == ours["LoRA"].count("†") == 2
    assert ours["NAS-LoRA"].count("†") == 0
    assert ours["LoRA"].rstrip(" |").endswith("no better than mean training mask")
    assert rows_of(study)["nas_lora"]["standing"] == ""


def with_network(make_study, write_run, results: Path, network: list[float]) -> Study:  # type: ignore[no-untyped-def]
    """A control at 30 %, a network with these scores by seed, and methods at 50 and 80 %."""
    study = make_study(results, networks=["unet"], seeds=[0, 1])
    write_run(study, "control_blank", 0, (0.30, 0.30, 0.30))
    for seed, score in enumerate(network):
        write_run(study, "unet", seed, (score, score, score))
    for method, base in {"decoder_only": 0.2, "lora": 0.5, "nas_lora": 0.8}.items():
        for seed in study.seeds:
            write_run(study, method, seed, [base + 0.002 * (seed - 0.5)] * 3)
    return study


def test_a_network_is_no_prediction_without_an_image(  # type: ignore[no-untyped-def]
    make_study, write_run, tmp_path: Path
) -> None:
    study = with_network(make_study, write_run, tmp_path, [0.600, 0.602])
    table = rows_of(study)
    found = {name: table[name]["kvasir_S_no_better_than"] for name in table}
    assert found["decoder_only"] == "control network"
    assert found["lora"] == "network"
    assert found["nas_lora"] == found["unet"] == ""
    text = markdown(study)
    lines = [line for line in section(text, "Measured here").splitlines() if line[:1] == "|"]
    rows = {line.split("|")[1].strip(): line for line in lines}
    assert "†‡" in rows["Decoder-only"]
    assert "‡" in rows["LoRA"]
    assert "†" not in rows["LoRA"]
    assert "no better than unet" in rows["LoRA"]
    assert "†: not significantly better than the best prediction that looks at no image." in text
    assert "‡: not significantly better than the best network trained from scratch" in text
    assert "seeds are too few to tell" not in text
    latex = (Layout.of(study).table("table1", "tex")).read_text(encoding="utf-8")
    assert r"$^{\dagger\ddagger}$" in latex
    assert r"$^{\ddagger}$" in latex
    assert r"$\ddagger$: not significantly better than the best network" in latex


def test_too_few_seeds_to_tell_a_network_are_said(  # type: ignore[no-untyped-def]
    make_study, write_run, tmp_path: Path
) -> None:
    """A network that varies by 8 points over two seeds: Welch's interval is wider than 20."""
    study = with_network(make_study, write_run, tmp_path, [0.56, 0.64])
    assert rows_of(study)["nas_lora"]["kvasir_S_no_better_than"] == "network"
    text = markdown(study)
    columns = 2
    assert f"In {columns} of the {3 * columns} cells with ‡ the test images show" in text
    assert "2 seeds are too few to tell" in text
    lines = section(text, "What a method must beat")
    assert "- LoRA: no better than unet.\n" in lines
    assert "- NAS-LoRA: " not in lines


def test_where_training_from_scratch_is_ahead_it_is_said_and_why(  # type: ignore[no-untyped-def]
    make_study, write_run, tmp_path: Path
) -> None:
    study = make_study(tmp_path, methods=["scratch", "decoder_only", "lora", "nas_lora"])
    ahead = {"decoder_only": 0.40, "scratch": 0.55, "lora": 0.50, "nas_lora": 0.60}
    for method, base in ahead.items():
        for seed in study.seeds:
            write_run(study, method, seed, (base, 1 - base, base))
    text = section(markdown(study), "What a method must beat")
    (line,) = (one for one in text.splitlines() if "better than the median" in one)
    assert line.startswith("- SAM (scratch) is better than the median of the methods that adapt: ")
    assert "Kvasir S" in line
    assert "Kvasir E" not in line
    assert "pretraining, on generated scenes, has little to give" in line
    write_run(study, "decoder_only", 0, (0.9, 0.9, 0.9))
    write_run(study, "lora", 0, (0.9, 0.9, 0.9))
    assert "better than the median" not in markdown(study)


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


def latex_of(study: Study) -> str:
    write_table1(study)
    return Layout.of(study).table("table1", "tex").read_text()


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


def test_marks_tell_the_best_and_second_from_the_rest(full_study: Study) -> None:
    """Seeds move all methods alike, so that any difference between them is told."""
    text = latex_of(full_study)
    assert text.count(r"\textbf{76.0}") == text.count(r"\underline{71.0}") == 1
    assert text.count(r"\textbf") == text.count(r"\underline") == 2
    shown = markdown(full_study)
    assert shown.count("**76.0 ± 1.0**") == shown.count("*71.0 ± 1.0*") == 1
    row = rows_of(full_study)
    assert (row["nas_pc_lora"]["kvasir_S_mark"], row["nas_lora"]["kvasir_S_mark"]) == (
        "best",
        "second",
    )


def test_nothing_is_bold_where_nothing_is_significant(study: Study, write_run: WriteRun) -> None:
    for method in study.methods:
        for seed in study.seeds:
            write_run(study, method, seed, (0.7, 0.8, 0.7))
    assert r"\textbf" not in latex_of(study)
    assert "Nothing is bold" in markdown(study)
    write_run(study, "lora", 0, (0.8, 0.8, 0.7))  # one seed of three, by chance
    assert r"\textbf" not in latex_of(study)


def test_no_marks_with_one_seed(study: Study, make_study: Any, write_run: WriteRun) -> None:
    once = make_study(study.results, seeds=[0])
    for index, method in enumerate(once.methods):
        write_run(once, method, 0, (0.5 + 0.1 * index,) * 3)
    text = markdown(once)
    assert "Nothing is bold" in text
    assert "of one seed" in text
    assert "1 seeds" not in text
    assert "±" not in text


def test_a_method_like_the_decoder_alone_says_so(study: Study, write_run: WriteRun) -> None:
    """As with a branch that is forced to zero: the same scores, seed by seed."""
    write_run(study, "control_blank", 0, (0.1, 0.1, 0.1))
    for seed in study.seeds:
        for method, base in (("decoder_only", 0.6), ("lora", 0.6), ("nas_lora", 0.7)):
            write_run(study, method, seed, (base + 0.01 * seed, base, base))
    rows = rows_of(study)
    assert rows["lora"]["standing"] == "no better than the mask decoder alone"
    assert rows["nas_lora"]["standing"] == rows["decoder_only"]["standing"] == ""
    ours = section(markdown(study), "Measured here")
    assert "no better than the mask decoder alone" in ours
    assert "LoRA: no better than the mask decoder alone." in latex_of(study)


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
