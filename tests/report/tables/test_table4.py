"""Table 4 and its figures from analyses of known numbers."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from naslora.analysis.document import (
    SCALES,
    TABLE_MODELS,
    Analysis,
    LayerStatistics,
    analysis_fingerprint,
    read_analysis,
    write_analysis,
)
from naslora.paper.published import columns, printed
from naslora.paper.published import rows as published_rows
from naslora.report.figures import features
from naslora.report.figures.catalogue import write_figures
from naslora.report.figures.inputs import Inputs
from naslora.report.tables.catalogue import write_tables
from naslora.report.tables.cells import Verdict
from naslora.report.tables.model import Table
from naslora.report.tables.table4 import block_index, table4
from naslora.results.aggregate import aggregate
from naslora.study.layout import Layout
from naslora.study.settings import Study

MakeStudy = Callable[..., Study]
IMAGES = 9
GLOBAL = (7, 15, 23, 31)


def statistics(size: int, windows: list[int], shift: float = 0.0) -> LayerStatistics:
    """Block b, counted from 0, has the distance 100 + b; the last amplitude falls from 0 to -6."""
    spread = np.linspace(-0.2, 0.2, IMAGES)
    curve = np.linspace(0, -6, 11)
    depth = len(windows)
    return LayerStatistics(
        image_size=size,
        grid=size // 16,
        windows=windows,
        uniform_distance=116.5,
        distance=[[99 + b + shift, 101 + b + shift] for b in range(depth)],
        distance_by_image=[(100 + b + shift + spread).tolist() for b in range(depth)],
        amplitude=[curve.tolist()] * (depth + 1),
        amplitude_by_image=[(curve * (1 + s)).tolist() for s in spread],
    )


def write(study: Study, model: str, *, depth: int = 32, status: str = "done") -> None:
    windows = [0 if b in GLOBAL else 14 for b in range(depth)]
    analysis = Analysis.model_validate(
        {
            "status": status,
            "study": study.study,
            "task": "kvasir",
            "model": model,
            "seed": 0,
            "backbone": study.sam.backbone,
            "settings": {},
            "fingerprint": analysis_fingerprint(study, "kvasir", model, 0),
            "checkpoint_sha256": None,
            "adapter_sha256": None,
            "manifest_sha256": "0" * 64,
            "images": [f"image{i}" for i in range(IMAGES)],
            "scales": {
                scale: statistics(size, windows, shift).model_dump()
                for scale, size, shift in (("native", 1024, 0.0), ("224", 224, 0.5))
            }
            if status == "done"
            else {},
            "wall_time_s": 1.0,
            "provenance": {
                "hardware": {},
                "versions": {},
                "git_revision": None,
                "git_dirty": None,
            },
        }
    )
    write_analysis(Layout.of(study).analysis("kvasir", model, 0), analysis)


@pytest.fixture
def paper(make_study: MakeStudy, tmp_path: Path) -> Study:
    """A study with the paper's encoder, images and checkpoint."""
    return make_study(
        tmp_path,
        sam={"backbone": "vit_h", "image_size": 1024, "checkpoint": "official"},
    )


def row(table: Table, name: str) -> list[float | None]:
    (found,) = [row for row in table.rows if row.name == name]
    return [cell.value for cell in found.cells]


def test_the_columns_are_the_paper_s(paper: Study) -> None:
    assert [column.key for column in table4(paper).columns] == list(columns("4"))
    assert list(TABLE_MODELS.values()) == list(published_rows("4"))


def test_numbers_layers_and_frequencies(paper: Study) -> None:
    for model in TABLE_MODELS:
        write(paper, model)
    table = table4(paper)
    amplitudes = [-2.4, -3.6, -4.8]  # of a straight line from 0 to -6
    assert row(table, "random") == pytest.approx([109, 114, 119, *amplitudes])
    # All conventions are there, so that the reader may compare.
    expected = {
        "random, 224 px, layers from 1": [109.5, 114.5, 119.5],
        "random, 1024 px, layers from 0": [110, 115, 120],
        "random, 224 px, layers from 0": [110.5, 115.5, 120.5],
    }
    for name, distances in expected.items():
        assert row(table, name) == pytest.approx([*distances, *amplitudes])
    assert len(table.rows) == 4 * 3
    assert [r.name for r in table.printed] == list(TABLE_MODELS)


def test_cells_have_a_number_per_image(paper: Study) -> None:
    write(paper, "random")
    cell = table4(paper).rows[0].cells[0]
    assert cell.n == IMAGES
    assert cell.std == pytest.approx(np.linspace(-0.2, 0.2, IMAGES).std(ddof=1))
    assert cell.printed == printed("4", "Randomly initialised ViT", columns("4")[0])
    assert cell.difference == pytest.approx(109 - 114)
    assert cell.verdict is Verdict.DIFFERS


def test_what_is_missing_is_a_dash(paper: Study, make_study: MakeStudy, tmp_path: Path) -> None:
    write(paper, "sam")
    write(paper, "nas_lora", status="diverged")
    table = table4(paper)
    statuses = {r.name: r.cells[0].status for r in table.rows[:3]}
    assert statuses == {"random": "missing", "sam": "done", "nas_lora": "diverged"}
    assert table.rows[0].cells[0].value is None
    write_tables(paper, ["table4"])
    text = Layout.of(paper).table("table4", "md").read_text()
    assert "\N{EN DASH} (missing)" in text
    assert "\N{EN DASH} (diverged)" in text
    without = make_study(tmp_path, methods=["lora"])
    assert table4(without).rows[2].cells[0].status == "not in this study"


def test_stale_and_damaged_files_are_named(paper: Study) -> None:
    write(paper, "random")
    other = paper.model_copy(update={"analysis": paper.analysis.model_copy(update={"images": 7})})
    sections = dict(table4(other).sections)
    assert sections["Left out"] == (
        "Randomly initialised ViT: this analysis was made with other settings than the study has "
        "now.",
    )
    Layout.of(paper).analysis("kvasir", "random", 0).write_text("{")
    assert "damaged" in dict(table4(paper).sections)["Left out"][0]


def test_verdicts_need_the_paper_s_setting(
    paper: Study, make_study: MakeStudy, tmp_path: Path
) -> None:
    for model in TABLE_MODELS:
        write(paper, model)
    random, sam, nas_lora = table4(paper).rows[:3]
    assert random.cells[0].verdict is Verdict.DIFFERS
    assert sam.cells[0].verdict is Verdict.DIFFERS
    assert nas_lora.cells[0].verdict is Verdict.NOT_COMPARABLE  # its schedule is the sample's
    small = make_study(tmp_path / "small")
    write(small, "random", depth=6)
    cells = table4(small).rows[0].cells
    assert {cell.verdict for cell in cells} == {Verdict.NOT_COMPARABLE}
    notes = " ".join(dict(table4(small).sections)["Not comparable with the paper"])
    assert "the backbone is small, not vit_h" in notes


@pytest.mark.parametrize(
    ("windows", "layers"),
    [
        ([4, 0, 4, 0], [0, 2, 2]),  # tiny
        ([8, 8, 0, 8, 8, 0], [1, 3, 3]),  # small; the middle is the border of blocks 2 and 3
        ([14, 14, 0] * 4, [3, 4, 7]),  # vit_b, whose 6th block is global
        ([0, 0], [0, 0, 1]),  # no windows at all
    ],
)
def test_layers_of_other_encoders(windows: list[int], layers: list[int]) -> None:
    found = [block_index(statistics(64, windows), layer, 1) for layer in (10, 15, 20)]
    assert found == layers


def test_layers_of_the_paper_s_encoder() -> None:
    huge = statistics(1024, [0 if b in GLOBAL else 14 for b in range(32)])
    assert [block_index(huge, layer, 1) for layer in (10, 15, 20)] == [9, 14, 19]
    assert [block_index(huge, layer, 0) for layer in (10, 15, 20)] == [10, 15, 20]
    assert all(huge.windows[i] for i in (9, 14, 19))
    assert huge.windows[15] == 0


def test_files(paper: Study) -> None:
    for model in TABLE_MODELS:
        write(paper, model)
    paths = write_tables(paper, ["table4"])
    before = [path.read_bytes() for path in paths]
    write_tables(paper, ["table4"])
    assert [path.read_bytes() for path in paths] == before
    with paths[0].open() as file:
        lines = list(csv.DictReader(file))
    assert float(lines[1]["attention_distance_layer15_mean"]) == pytest.approx(114)
    assert lines[1]["attention_distance_layer15_paper"] == "105"
    assert lines[0]["log_amplitude_0.6pi_n"] == str(IMAGES)
    latex = paths[2].read_text()
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") >= 1
    assert "π" not in latex


def test_figures_from_analyses(paper: Study) -> None:
    for model in ("random", "nas_lora"):
        write(paper, model)
    paths = write_figures(paper, ["attention_distance", "log_amplitude"])
    assert all(path.stat().st_size > 5000 for path in paths if path.suffix in (".png", ".pdf"))
    distances, amplitudes = (pd.read_csv(path) for path in paths if path.suffix == ".csv")
    assert set(distances["model"]) == set(amplitudes["model"]) == {"random", "nas_lora"}
    analysis = read_analysis(paper, "kvasir", "random", 0)
    heads = distances.query("model == 'random' and layer == 3 and image_size == 224")
    np.testing.assert_allclose(heads["distance_px"], analysis.scales["224"].distance[2])
    curve = amplitudes.query("model == 'random' and block == 3 and image_size == 224")
    np.testing.assert_allclose(curve["log_amplitude"], analysis.scales["224"].amplitude[3])
    assert curve["frequency"].iloc[[0, -1]].tolist() == [0, 1]
    assert "Without numbers: SAM ViT." in paths[3].read_text()


def test_no_distance_is_outside_its_panel(paper: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Panels in a row share an axis, though the first one's model looks least far."""
    write(paper, "random")
    write(paper, "nas_lora")
    path = Layout.of(paper).analysis("kvasir", "nas_lora", 0)
    content = json.loads(path.read_text())
    for scale in content["scales"].values():
        scale["distance"] = [[3 * head for head in heads] for heads in scale["distance"]]
    path.write_text(json.dumps(content))
    canvases: list[Figure] = []
    monkeypatch.setattr(features, "save_figure", lambda canvas, *others: canvases.append(canvas))
    features.draw_attention_distances(Inputs(paper, aggregate(paper)), Path("unused.png"))
    for axes in canvases[0].axes:
        low, high = axes.get_ylim()
        assert low == 0
        drawn = [np.max(line.get_ydata()) for line in axes.get_lines()]
        assert max(drawn, default=0) <= high


def test_needs_no_torch(paper: Study, one_task: dict[str, Any]) -> None:
    write(paper, "random")
    config = Path(__file__).parents[3] / "config"
    overrides: dict[str, Any] = {
        "results": str(paper.results),
        **one_task,
        "sam": paper.sam.model_dump(mode="json", include={"backbone", "image_size", "checkpoint"}),
    }
    code = (
        "import sys; from pathlib import Path; from naslora.study.settings import load_study;"
        "from naslora.report.tables.catalogue import write_tables;"
        "from naslora.report.figures.catalogue import write_figures;"
        f"study = load_study('sample', {overrides!r}, Path({str(config)!r}));"
        "write_tables(study, ['table4']);"
        "write_figures(study, ['attention_distance']);"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_both_scales_are_named() -> None:
    assert SCALES == ("native", "224")
