"""Table 5 from timings as files."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import statistics
import subprocess
from pathlib import Path
from typing import Any

import pytest

from naslora.nas.settings import PAPER_COUNT
from naslora.paper.published import Printed, columns, rows
from naslora.report.tables.catalogue import TABLES, write_tables
from naslora.report.tables.cells import Verdict
from naslora.report.tables.latex import TEXT_PT, latex_text
from naslora.report.tables.model import Row, Table
from naslora.report.tables.table5 import KEYS, table5
from naslora.report.tables.timed_cells import timed_cell
from naslora.report.tables.writers import csv_text, markdown_text
from naslora.results.costs import PAPER_ROWS
from naslora.study.layout import Layout
from naslora.study.settings import Study, load_study

CONFIG = Path(__file__).parents[3] / "config"
METHODS = [
    "scratch",
    "sam_adapter",
    "bitfit",
    "vpt",
    "lora",
    "conv_lora",
    "nas_lora",
    "nas_pc_lora",
]
V100 = {"device": "cuda", "gpu": "Tesla V100-SXM2-32GB", "cores": 8, "threads": 8}
CPU = {"device": "cpu", "processor": "Some_Processor & Co", "cores": 2, "threads": 1}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return load_study("paper", {"results": str(tmp_path / "results"), "methods": METHODS}, CONFIG)


def measured(method: str, **seconds: float) -> dict[str, Any]:
    """Three repeats of 1, 1.01 and 0.98 times these seconds per image; with batches of 8, half."""

    def timed(middle: float) -> dict[str, Any]:
        return {"status": "done", "seconds": [middle, 1.01 * middle, 0.98 * middle]}

    return {
        "method": method,
        "title": method,
        "settings": PAPER_COUNT if method.startswith("nas") else {},
        "passes": {
            name: {
                "batches": {"4": timed(middle), "8": timed(0.5 * middle)},
                "peak_bytes": None if name == "inference" else 5 << 30,
            }
            for name, middle in seconds.items()
        },
        "inference_form": "merged",
        "adapter_bytes": 16_000_000,
    }


def write(study: Study, name: str, methods: list[dict[str, Any]], **changes: Any) -> Path:
    content = {
        "schema_version": 1,
        "study": study.study,
        "hardware": name,
        "backbone": "vit_h",
        "image_size": 1024,
        "batch_size": 4,
        "images_per_epoch": 2000,
        "settings": {
            "timing": {"repeats": 3, "steps": 10, "warm_up": 3, "batch_sizes": [8]},
            "training": {"precision": "32-true", "gradient_checkpointing": False},
        },
        "data": "noise.",
        "memory": "what the GPU says",
        "methods": methods,
        "load_average": [0.1, 1.0],
        "wall_time_s": 60.0,
        "provenance": {
            "hardware": V100,
            "versions": {"torch": "2.14.1"},
            "git_revision": None,
            "git_dirty": None,
        },
        **changes,
    }
    path = Layout.of(study).timing / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def provenance(hardware: dict[str, Any]) -> dict[str, Any]:
    return {"hardware": hardware, "versions": {}, "git_revision": None, "git_dirty": None}


def usual() -> list[dict[str, Any]]:
    """As the paper's LoRA and NAS-PC-LoRA, but inference; Conv-LoRA as slow as can be."""
    return [
        measured("lora", training=20.3 * 60 / 2000, inference=1 / 4.62),
        measured("conv_lora", training=2.0, inference=1 / 4.62),
        measured("nas_lora", training=0.6, searching=1.2, inference=0.3),
        measured(
            "nas_pc_lora",
            training=21.1 * 60 / 2000,
            searching=25.2 * 60 / 2000,
            inference=1.5 / 4.62,
        ),
    ]


def row(table: Table, name: str) -> Row:
    return next(one for one in table.rows if one.name == name)


def notes(table: Table) -> str:
    return "\n".join(line for _, lines in table.sections for line in lines)


def test_the_paper_s_rows_and_columns_come_first_and_in_its_order(study: Study) -> None:
    assert list(PAPER_ROWS) == list(rows("5"))
    assert KEYS[:3] == ("train_iter_per_s", "train_min_per_epoch", "inference_iter_per_s")
    assert set(KEYS[:3]) == set(columns("5"))
    table = table5(study)
    assert [one.title for one in table.rows] == [
        "BitFit",
        "SAM-Adapter",
        "VPT",
        "LoRA",
        "Conv-LoRA",
        "NAS-PC-LoRA (update w)",
        "NAS-PC-LoRA (update w and alpha)",
        "SAM (scratch)",
        "NAS-LoRA",
    ]
    shown = {column.key: column.decimals for column in table.columns}
    for key in KEYS[:3]:
        printed = [one.cells[KEYS.index(key)].printed for one in table.rows]
        digits = [len(number.text.partition(".")[2]) for number in printed if number]
        assert shown[key] >= max(digits)


def test_without_any_timing_all_is_a_dash(study: Study) -> None:
    table = table5(study)
    for one in table.rows:
        for cell in one.cells:
            assert (cell.value, cell.status) == (None, "not timed")
            assert cell.verdict in (Verdict.MISSING, Verdict.NOT_PRINTED)
    assert "No machine was timed" in notes(table)
    assert " 0.00" not in markdown_text(table)


def test_numbers_and_ratios(study: Study) -> None:
    write(study, "v100", usual())
    table = table5(study)
    lora, w, both = (row(table, n) for n in ("lora", "nas_pc_lora", "nas_pc_lora_searching"))
    assert lora.cells[0].value == pytest.approx(2000 / 20.3 / 60)
    assert lora.cells[0].n == 3
    assert lora.cells[1].value == pytest.approx(20.3)
    assert lora.cells[2].value == pytest.approx(4.62)
    ratios = [one.cells[3].value for one in (lora, w, both)]
    assert ratios == pytest.approx([1, 21.1 / 20.3, 25.2 / 20.3])
    assert w.cells[4].value == pytest.approx(1.5)
    assert w.cells[5].value == 5 * 1024
    assert w.cells[6].value == 16
    assert lora.cells[7].value == pytest.approx(2 * 2000 / 20.3 / 60)  # with batches of 8
    for index in (2, 4, 6, 8):  # of the same model
        assert (both.cells[index].value, both.cells[index].status) == (None, "as with w alone")
    # Of NAS-LoRA, which the paper does not print, too.
    assert row(table, "nas_lora_searching").cells[3].value == pytest.approx(1.2 / 0.609)
    assert row(table, "vpt").cells[0].status == "not timed"
    assert "over 40 epochs, 10 of them without alpha, on Tesla V100-SXM2-32GB: 1.19" in notes(table)
    assert "come to 1.19 over 40 epochs" in notes(table)


def test_ratios_are_of_the_same_round(study: Study) -> None:
    """The machine was twice as slow in one round: both methods were, and the ratio was not."""
    methods = usual()
    for method in (methods[0], methods[3]):
        for one in method["passes"].values():
            first = one["batches"]["4"]["seconds"]
            first[0] *= 2
    write(study, "v100", methods)
    cell = row(table5(study), "nas_pc_lora").cells[3]
    assert cell.values == pytest.approx([21.1 / 20.3] * 3)
    assert cell.std == pytest.approx(0, abs=1e-9)


def test_verdicts_on_the_paper_s_gpu(study: Study) -> None:
    write(study, "v100", usual())
    table = table5(study)
    verdicts = {one.name: [cell.verdict for cell in one.cells] for one in table.rows}
    same, other, none = Verdict.REPRODUCED, Verdict.DIFFERS, Verdict.NOT_PRINTED
    assert verdicts["lora"][:5] == [same, same, same, none, none]
    assert verdicts["nas_pc_lora"][:5] == [same, same, other, same, other]
    assert verdicts["nas_pc_lora_searching"][:5] == [none, same, none, same, none]
    assert verdicts["conv_lora"][:5] == [other] * 5
    assert set(verdicts["nas_lora"]) == {none}
    assert all(found[5:] == [none] * 4 for found in verdicts.values())


@pytest.mark.parametrize(
    ("changes", "rate", "ratio"),
    [
        ({"provenance": provenance({**V100, "gpu": "NVIDIA H200"})}, False, True),
        ({"provenance": provenance(CPU)}, False, False),
        ({}, True, True),
    ],
)
def test_what_is_comparable(study: Study, changes: dict[str, Any], rate: bool, ratio: bool) -> None:
    write(study, "one", usual(), **changes)
    cells = row(table5(study), "nas_pc_lora").cells
    assert [cells[i].verdict is not Verdict.NOT_COMPARABLE for i in (0, 3)] == [rate, ratio]


def test_a_timing_of_other_models_or_settings_is_left_out(study: Study) -> None:
    write(study, "small", usual(), image_size=512)
    write(study, "broken", usual(), wall_time_s=-1)
    (Layout.of(study).timing / "half.json").write_text('{"schema_version": 1,')
    write(study, "newer", usual(), schema_version=2)
    changed = usual()
    changed[0]["passes"]["training"]["batches"]["4"]["seconds"] = []
    write(study, "empty", changed)
    table = table5(study)
    assert all(cell.status == "not timed" for one in table.rows for cell in one.cells)
    text = notes(table)
    assert "small.json: of SAM vit_h at 512 px in batches of 4, but the study now has" in text
    assert "newer.json: this timing has schema version 2" in text
    assert "half.json: this timing is damaged" in text
    assert "broken.json: this timing is invalid: wall_time_s:" in text
    where = "methods.0.passes.training.batches.4"
    assert f"empty.json: this timing is invalid: {where}: seconds belong" in text


def test_a_method_whose_settings_changed_is_a_dash(study: Study) -> None:
    write(study, "v100", usual())
    settings = {**study.method_settings, "lora": {"rank": 4}}
    changed = study.model_copy(update={"method_settings": settings})
    table = table5(changed)
    assert row(table, "lora").cells[0].status == "timed with other settings"
    assert row(table, "nas_pc_lora").cells[0].status == "done"


def test_what_did_not_fit_is_a_dash_with_its_status(study: Study) -> None:
    methods = usual()
    failed = {"status": "out of memory", "seconds": []}
    methods[1]["passes"]["training"] = {"batches": {"4": failed, "8": failed}, "peak_bytes": None}
    methods[0]["passes"]["inference"]["batches"] = {"4": failed, "8": failed}
    write(study, "v100", methods)
    table = table5(study)
    conv = row(table, "conv_lora").cells
    assert [conv[i].status for i in (0, 1, 3, 5, 7)] == ["out of memory"] * 5
    assert conv[2].status == "done"
    assert conv[4].status == "LoRA was not timed"


def test_several_machines_are_blocks_gpus_first(study: Study) -> None:
    write(study, "a-cpu", usual(), provenance=provenance(CPU), load_average=[3.0, 4.0])
    write(study, "z-gpu", usual())
    write(study, "z-gpu-again", usual())
    table = table5(study)
    printed = markdown_text(table).split("## Printed in the paper")[1]
    assert printed.count("| LoRA, ") == 3  # each with its own difference from the paper
    blocks = [one.title.partition(", ")[2] for one in table.rows if one.title.startswith("LoRA,")]
    assert blocks == [
        "Tesla V100-SXM2-32GB (z-gpu-again.json)",
        "Tesla V100-SXM2-32GB (z-gpu.json)",
        "Some_Processor & Co, 1 thread",
    ]
    assert len({one.name for one in table.rows}) == len(table.rows)
    assert not any(table.marks(index) for index in range(len(table.columns)))
    assert "3.0 processes ran or waited for its 2 cores" in notes(table)
    assert "it ran on no GPU" in notes(table)


def test_files(study: Study) -> None:
    write(study, "v100", usual())
    write_tables(study, ["table5"])
    layout = Layout.of(study)
    lines = {
        line["method"]: line
        for line in csv.DictReader(io.StringIO(layout.table("table5", "csv").read_text()))
    }
    middle = statistics.median([1, 1.01, 0.98]) * 21.1 * 60 / 2000
    assert float(lines["nas_pc_lora"]["train_iter_per_s_median"]) == pytest.approx(1 / middle)
    assert lines["nas_pc_lora_searching"]["train_time_to_lora_paper"] == "1.24"
    assert lines["vpt"]["train_iter_per_s_median"] == ""
    assert lines["vpt"]["train_iter_per_s_status"] == "not timed"
    assert "| LoRA " in layout.table("table5", "md").read_text()
    assert not layout.metrics.exists()  # scores are those of records
    assert not TABLES["table5"].from_records


def test_latex(study: Study, tmp_path: Path) -> None:
    write(study, "v100", usual())
    write(study, "cpu", usual(), provenance=provenance(CPU))
    table = table5(study)
    text = latex_text(table)
    assert text.isascii()
    body = text.split(r"\toprule")[1].split(r"\bottomrule")[0]
    theirs = body.split("Printed in the paper")[1]
    for name in table.rows[3].printed, table.rows[5].printed:  # of two machines, printed once
        assert len(re.findall(rf"^{re.escape(str(name))} &", theirs, re.MULTILINE)) == 1
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex on this machine")
    head = "\\documentclass{article}\\usepackage{booktabs}"
    width = f"\\setlength{{\\textwidth}}{{{TEXT_PT}pt}}"
    document = f"{head}{width}\\begin{{document}}\n{text}\\end{{document}}\n"
    (tmp_path / "one.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "one.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout


def test_no_number_is_lost_on_the_way_to_csv(study: Study) -> None:
    write(study, "v100", usual())
    table = table5(study)
    header, *lines = csv.reader(io.StringIO(csv_text(table)))
    assert len(lines) == len(table.rows)
    assert sum(name.endswith("_median") for name in header) == len(KEYS)
    assert not any(name.endswith("_mean") for name in header)


@pytest.mark.parametrize(
    ("values", "paper", "verdict"),
    [
        ([1.00, 1.01, 0.99], "1.06", Verdict.REPRODUCED),  # 5 % and 0.01 and 0.005
        ([1.00, 1.01, 0.99], "1.07", Verdict.DIFFERS),
        ([1.00, 1.20, 0.99], "1.20", Verdict.UNDECIDED),  # repeats scatter too much
        ([1.00, 1.20, 0.99], "1.30", Verdict.DIFFERS),
        ([1.00], "1.05", Verdict.REPRODUCED),
    ],
)
def test_the_rule(values: list[float], paper: str, verdict: Verdict) -> None:
    assert timed_cell(values, "done", Printed(paper), fair=True).verdict is verdict
    unfair = timed_cell(values, "done", Printed(paper), fair=False)
    assert unfair.verdict is Verdict.NOT_COMPARABLE


def test_the_median_counts() -> None:
    assert timed_cell([1.0, 9.0, 2.0]).value == 2.0
    assert timed_cell([]).value is None
