"""Figures that are made from records and analyses alone."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from naslora.report.figures import figure1b, figure1c, figure_c2
from naslora.report.figures.catalogue import FIGURES, figure_paths, figures_from, write_figures
from naslora.results.aggregate import aggregate
from naslora.results.costs import paper_costs, read_costs
from naslora.results.shares import read_shares
from naslora.study.layout import Layout
from naslora.study.records import Receipt, Record, read_record, write_document
from naslora.study.settings import Study

MakeStudy = Callable[..., Study]
FROM_RECORDS = figures_from("records", "analyses")


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures as they are before they are saved, which takes longest."""
    canvases: list[Figure] = []
    for module in (figure1b, figure1c, figure_c2):
        monkeypatch.setattr(module, "save_figure", lambda canvas, path: canvases.append(canvas))
    return canvases


def texts(canvas: Figure) -> str:
    from matplotlib.text import Text

    return "\n".join(text.get_text() for text in canvas.findobj(Text))


def change(path: Path, **training: Any) -> None:
    """Rewrite a record with another receipt, or another time of evaluation."""
    record = read_record(path).model_dump()
    if "evaluation_time_s" in training:
        record["evaluation_time_s"] = training.pop("evaluation_time_s")
    record["training"] = Receipt.model_validate(record["training"] | training)
    write_document(path, Record.model_validate(record))


def test_every_figure_of_the_paper_is_there() -> None:
    wanted = {"figure1b", "figure1c", "figure3", "figure4", "figureC1", "figureC2"}
    assert wanted | {"attention_distance", "log_amplitude"} <= set(FIGURES)
    assert set(FROM_RECORDS) | set(figures_from("weights")) == set(FIGURES)


def test_all_are_drawn_the_same_from_records_alone(full_study: Study) -> None:
    paths = write_figures(full_study, FROM_RECORDS)
    assert paths == [path for name in FROM_RECORDS for path in figure_paths(full_study, name)]
    assert {path.suffix for path in paths} == {".png", ".pdf"}
    for path in paths[::2]:
        with Image.open(path) as picture:
            assert 200 < min(picture.size) < max(picture.size) < 2000
            assert np.asarray(picture.convert("L")).std() > 5
    before = paths[0].read_bytes()
    write_figures(full_study, ["figure1b"])
    assert paths[0].read_bytes() == before


def test_without_any_record_figures_say_so(study: Study, seen: list[Figure]) -> None:
    write_figures(study, ["figure1b", "figure1c", "figureC2"])
    scores, costs, *shares = seen
    assert "no run is done" in texts(scores)
    assert "nothing measured yet" in texts(costs)
    assert all("no run of NAS-LoRA or NAS-PC-LoRA is done" in texts(canvas) for canvas in shares)


def test_figures_without_weights_or_images_say_so(full_study: Study) -> None:
    """A copy with records alone has neither."""
    paths = write_figures(full_study, figures_from("weights"))
    assert all(path.stat().st_size > 1000 for path in paths)


def test_scores_stand_where_they_should(full_study: Study, seen: list[Figure]) -> None:
    write_figures(full_study, ["figure1b"])
    (axes,) = seen[0].axes
    drawn = {}
    for line in axes.get_lines():
        if line.get_marker() in ("o", "D"):
            place = round(float(line.get_ydata()[0]))
            drawn[line.get_marker(), place] = float(line.get_xdata()[0])
    titles = [label.get_text() for label in axes.get_yticklabels()]
    assert titles == ["NAS-PC-LoRA", "NAS-LoRA", "LoRA", "Decoder-only"]
    for place, (mean, paper) in enumerate([(76, 92.4), (71, 92.3), (66, 91.2), (61, 86.5)]):
        assert drawn["o", place] == pytest.approx(mean)
        assert drawn["D", place] == paper


def test_every_data_set_has_a_panel(every_task: Study, seen: list[Figure]) -> None:
    write_figures(every_task, ["figure1b"])
    panels = [(axes.get_title(), axes.get_xlabel()) for axes in seen[0].axes]
    assert len(panels) == 10
    assert panels[0] == ("Kvasir", "S (%) ↑")
    assert panels[4] == ("SBU", "BER (%) ↓")
    assert panels[-1] == ("Trans10K-v2", "Acc (%) ↑")
    assert "no run is done" not in texts(seen[0])


def test_paper_s_costs() -> None:
    found = paper_costs()
    assert found["lora"].epoch_s == pytest.approx(20.3 * 60)
    assert found["nas_pc_lora"].epoch_s / 60 == pytest.approx((10 * 21.1 + 30 * 25.2) / 40)
    assert found["nas_pc_lora"].image_s == pytest.approx(1 / 4.62)


def test_costs_from_records(full_study: Study) -> None:
    layout = Layout.of(full_study)
    for seed, seconds in enumerate((1.0, 2.0, 6.0)):
        history = [{"epoch": float(e), "loss": 1.0, "seconds": seconds * e} for e in (1, 2, 3)]
        change(layout.record("kvasir", "lora", seed), history=history, evaluation_time_s=50.0)
    costs = read_costs(full_study, aggregate(full_study), "kvasir")
    assert list(costs.by_method) == ["lora"]  # the others' records have no seconds
    assert costs.by_method["lora"].epoch_s == pytest.approx(2 * 3.0)
    assert costs.by_method["lora"].image_s == pytest.approx(0.5)  # of 100 images
    assert "not a benchmark" in costs.source


def measurement(method: str, **seconds: float | None) -> dict[str, Any]:
    """Passes with these seconds per image, three repeats; None for one that did not fit."""
    passes = {}
    for name, one in seconds.items():
        repeats = [] if one is None else [one, 0.9 * one, 5 * one]
        status = "done" if repeats else "out of memory"
        passes[name] = {"batches": {"4": {"status": status, "seconds": repeats}}}
    return {
        "method": method,
        "title": method,
        "settings": {},
        "passes": passes,
        "inference_form": "merged",
        "adapter_bytes": 1,
    }


def write_timing(study: Study, name: str, methods: list[dict[str, Any]], **hardware: Any) -> None:
    content = {
        "schema_version": 1,
        "study": study.study,
        "hardware": name,
        "backbone": study.sam.backbone,
        "image_size": study.sam.image_size,
        "batch_size": study.training.batch_size,
        "images_per_epoch": 100,
        "settings": {},
        "data": "synthetic",
        "memory": "none",
        "methods": methods,
        "load_average": [0.0, 1.0],
        "wall_time_s": 1.0,
        "provenance": {
            "hardware": {"processor": "a processor", "threads": 2, **hardware},
            "versions": {},
            "git_revision": None,
            "git_dirty": None,
        },
    }
    path = Layout.of(study).timing / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def test_measured_costs_come_first_and_bad_files_are_named(full_study: Study) -> None:
    methods = [
        measurement("lora", training=0.5, inference=0.2),
        measurement("nas_lora", training=0.5, searching=1.0, inference=0.2),
        measurement("decoder_only", training=None, inference=0.2),
        measurement("vpt", training=0.5, inference=0.2),
    ]
    write_timing(full_study, "a-cpu", [measurement("lora", training=9.0, inference=9.0)])
    write_timing(full_study, "z-gpu", methods, gpu="a GPU")
    (Layout.of(full_study).timing / "newer.json").write_text('{"schema_version": 9}')
    costs = read_costs(full_study, aggregate(full_study), "kvasir")
    assert list(costs.by_method) == ["lora", "nas_lora"]  # what fitted, of the study's methods
    assert costs.by_method["lora"].epoch_s == pytest.approx(50)
    # Eight epochs, of which two are before T_B.
    assert costs.by_method["nas_lora"].epoch_s == pytest.approx((2 * 50 + 6 * 100) / 8)
    assert costs.by_method["lora"].image_s == pytest.approx(0.2)
    assert costs.source == "measured by the timing protocol on a GPU"
    assert costs.problems == ("newer.json: this timing has schema version 9; this naslora reads 1",)


def alpha_of(projections: tuple[str, ...], shift: float) -> list[dict[str, list[float]]]:
    """Two epochs of twelve blocks with a cell per projection."""
    epochs = []
    for epoch in (0.0, 1.0):
        cells = {}
        for block in range(12):
            for index, name in enumerate(projections):
                weights = [math.exp(epoch * (block + i + index + shift) / 9) for i in range(8)]
                key = f"image_encoder.blocks.{block}.attn.qkv.branches.{name}.middle"
                cells[key] = [w / sum(weights) for w in weights]
        epochs.append(cells)
    return epochs


@pytest.mark.parametrize("projections", [("qkv",), ("q", "k", "v")])
def test_shares(full_study: Study, seen: list[Figure], projections: tuple[str, ...]) -> None:
    layout = Layout.of(full_study)
    for seed in full_study.seeds:
        alpha = alpha_of(projections, seed)
        change(layout.record("kvasir", "nas_pc_lora", seed), alpha=alpha)
    records = aggregate(full_study)
    shares = read_shares(full_study, records, "kvasir", "nas_pc_lora")
    assert shares is not None
    assert shares.operations[0] == "sep_conv_3x3"
    assert shares.operations[-1] == "zero"
    # Blocks in the order of their numbers, not of their names; and of the last epoch.
    assert shares.blocks == tuple(b for b in range(12) for _ in projections)
    assert shares.projections[: len(projections)] == projections
    assert shares.values.shape == (3, 12 * len(projections), 8)
    last = alpha_of(projections, 2)[-1]
    name = f"image_encoder.blocks.10.attn.qkv.branches.{projections[-1]}.middle"
    np.testing.assert_allclose(shares.values[2, 11 * len(projections) - 1], last[name])
    assert read_shares(full_study, records, "kvasir", "lora") is None
    write_figures(full_study, ["figureC2"])
    bars, blocks = seen
    widths = [100 * value for value in shares.values.mean((0, 1))]
    drawn = [patch.get_width() for patch in bars.axes[0].patches]
    np.testing.assert_allclose(drawn[-8:], widths)  # NAS-PC-LoRA comes after NAS-LoRA
    (image,) = blocks.axes[0].get_images()
    np.testing.assert_allclose(image.get_array(), 100 * shares.values.mean(0).T)
