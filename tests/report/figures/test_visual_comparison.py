"""Figures of images, from a study that was really trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from naslora.analysis.grad_cam import grad_cam
from naslora.core.errors import DivergedError
from naslora.data.benchmarks.contract import get_benchmark
from naslora.data.manifest import read_manifest
from naslora.evaluation import evaluate
from naslora.evaluation.loading import trained_sam
from naslora.evaluation.predictions import predictions
from naslora.report.figures import figure3, figure4, visual_comparison
from naslora.report.figures.catalogue import write_figures
from naslora.report.figures.figure3 import draw_comparisons
from naslora.report.figures.figure4 import draw_grad_cams
from naslora.report.figures.style import COLOURS
from naslora.report.figures.thumbnails import Cell, class_map, draw_grid, error_map, heat_map, small
from naslora.report.figures.visual_comparison import draw_visual_comparison
from naslora.results.aggregate import aggregate
from naslora.study.layout import Layout
from naslora.study.records import read_receipt
from naslora.study.settings import Study
from naslora.training.loop import train

Copy = Callable[..., Study]
TASK = "kvasir"


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What would be drawn as outlines."""
    seen: dict[str, Any] = {}
    names = ("images", "truths", "predictions", "titles", "path", "caption")
    monkeypatch.setattr(
        visual_comparison,
        "draw_outlines",
        lambda *values: seen.update(zip(names, values, strict=True)),
    )
    return seen


@pytest.fixture
def grids(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """What would be drawn as grids of small pictures, by file name."""
    seen: dict[str, dict[str, Any]] = {}

    def keep(rows: Any, headings: Any, path: Path, **others: Any) -> None:
        seen[path.name] = {"rows": rows, "headings": headings, **others}

    for module in (figure3, figure4):
        monkeypatch.setattr(module, "draw_grid", keep)
    return seen


def expected_order(study: Study) -> list[str]:
    """Test images by their mean IoU over methods, the best first."""
    layout = Layout.of(study)
    scores = [
        pd.read_parquet(layout.per_image(TASK, method, 0)).set_index("id")["IoU"]
        for method in study.methods
    ]
    mean = sum(scores) / len(scores)
    return sorted(mean.index, key=lambda name: (-mean[name], name))


def test_outlines_of_what_methods_predict(
    trained_study: Study, drawn: dict[str, Any], copied: Copy
) -> None:
    study = copied(of=trained_study)
    layout = Layout.of(study)
    draw_visual_comparison(study, aggregate(study), layout.figure("outlines"))
    ranked = expected_order(study)
    manifest = read_manifest(layout.manifest(TASK))
    ids = [sample.id for sample in manifest.of("test")]
    assert drawn["titles"] == ["best", "worst"]  # of two test images
    assert list(drawn["predictions"]) == ["LoRA", "NAS-LoRA"]
    for title, method in (("LoRA", "lora"), ("NAS-LoRA", "nas_lora")):
        receipt = read_receipt(layout.receipt(TASK, method, 0))
        sam = trained_sam(study, get_benchmark(TASK), method, 0, receipt)
        expected = dict(zip(ids, predictions(study, manifest, "test", sam), strict=True))
        iou = pd.read_parquet(layout.per_image(TASK, method, 0)).set_index("id")["IoU"]
        for row, probability in enumerate(drawn["predictions"][title]):
            name = ranked[row]
            np.testing.assert_allclose(probability, expected[name], atol=1e-5)
            assert drawn["images"][row].shape == (*probability.shape, 3)
            truth, found = drawn["truths"][row] > 0, probability > 0.5
            value = (truth & found).sum() / (truth | found).sum()
            assert iou[name] == pytest.approx(value, abs=0.02)
    assert drawn["caption"] == (
        "Kvasir: best and worst of 2 test images by their mean IoU over 2 runs"
    )


def test_figure_3_shows_each_rank_in_a_figure_of_its_own(
    trained_study: Study, grids: dict[str, dict[str, Any]], copied: Copy
) -> None:
    study = copied(of=trained_study)
    layout = Layout.of(study)
    draw_comparisons(study, aggregate(study), layout.figure("figure3"))
    ranked = expected_order(study)
    wanted = {"figure3_best.png": 0, "figure3.png": 0, "figure3_worst.png": 1}
    assert set(grids) == set(wanted)
    manifest = read_manifest(layout.manifest(TASK))
    images = evaluate.test_images(study, manifest, "test")
    index = {sample.id: i for i, sample in enumerate(images.samples)}
    for name, place in wanted.items():
        grid = grids[name]
        assert grid["headings"] == ["Image", "Truth", "LoRA", "NAS-LoRA"]
        ((label, cells),) = grid["rows"]
        assert label == "Kvasir"
        sample = index[ranked[place]]
        np.testing.assert_array_equal(cells[0].picture, images.native_image(sample))
        truth = images.native_mask(sample) > 0
        np.testing.assert_array_equal(cells[1].picture, np.repeat(truth[..., None], 3, 2))
        for cell, method in zip(cells[2:], study.methods, strict=True):
            # White and blue together are the truth; white alone over all but black is the IoU.
            white = (cell.picture == 1).all(-1)
            assert not white[~truth].any()
            shown = white.sum() / (cell.picture.any(-1)).sum()
            assert cell.corner == f"{shown:.2f}"
            rows = pd.read_parquet(layout.per_image(TASK, method, 0)).set_index("id")
            assert shown == pytest.approx(rows["IoU"][ranked[place]], abs=1e-3)
        assert "Images ranked: kvasir 2." in grid["captions"]


def test_figure_4_shows_the_maps_of_every_method(
    trained_study: Study, grids: dict[str, dict[str, Any]], copied: Copy
) -> None:
    study = copied(of=trained_study)
    layout = Layout.of(study)
    draw_grad_cams(study, aggregate(study), layout.figure("figure4"))
    grid = grids["figure4.png"]
    assert [label for label, _ in grid["rows"]] == ["best", "worst"]
    images = evaluate.test_images(study, read_manifest(layout.manifest(TASK)), "test")
    index = {sample.id: i for i, sample in enumerate(images.samples)}
    sample = index[expected_order(study)[0]]
    receipt = read_receipt(layout.receipt(TASK, "nas_lora", 0))
    sam = trained_sam(study, get_benchmark(TASK), "nas_lora", 0, receipt)
    heat = grad_cam(sam, images[sample][0][None])[0].numpy()
    size = (images.samples[sample].width, images.samples[sample].height)
    sized = np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BILINEAR))
    expected = heat_map(images.native_image(sample), np.clip(sized, 0, 1))
    np.testing.assert_allclose(grid["rows"][0][1][-1].picture, expected, atol=1e-6)


def test_pictures_are_written_the_same_again(trained_study: Study, copied: Copy) -> None:
    study = copied(of=trained_study)
    paths = write_figures(study, ["figure3", "figure4", "outlines"])
    before = [path.read_bytes() for path in paths]
    assert all(data.startswith((b"\x89PNG", b"%PDF")) for data in before)
    assert [path.read_bytes() for path in write_figures(study, ["figure3"])] == before[:6]


def test_a_run_that_diverged_is_left_out(
    trained_study: Study, grids: dict[str, dict[str, Any]], copied: Copy
) -> None:
    changes = {"variants": {}, "method_settings": {}}
    study = copied(changes | {"training.learning_rate": 1e30}, of=trained_study)
    with pytest.raises(DivergedError):
        train(study, TASK, "lora", 0)
    evaluate.evaluate(study, TASK, "lora", 0)
    # The other method was trained with another rate, and so is left out too.
    records = aggregate(study)
    layout = Layout.of(study)
    draw_comparisons(study, records, layout.figure("figure3"))
    assert grids["figure3.png"]["rows"] == []
    assert "No run is done: kvasir." in grids["figure3.png"]["captions"][1]


def test_a_missing_run_leaves_a_gap(
    trained_study: Study, drawn: dict[str, Any], grids: dict[str, dict[str, Any]], copied: Copy
) -> None:
    study = copied(of=trained_study)
    layout = Layout.of(study)
    layout.record(TASK, "lora", 0).unlink()
    records = aggregate(study)
    draw_comparisons(study, records, layout.figure("figure3"))
    draw_grad_cams(study, records, layout.figure("figure4"))
    draw_visual_comparison(study, records, layout.figure("outlines"))
    assert grids["figure3.png"]["rows"][0][1][2] is None
    assert grids["figure4.png"]["rows"][0][1][2] is None
    assert list(drawn["predictions"]) == ["NAS-LoRA"]
    assert drawn["caption"].endswith("over 1 runs; not done: lora")


def test_an_error_map_tells_all_four_cases() -> None:
    truth = np.array([[True, True], [False, False]])
    found = np.array([[True, False], [True, False]])
    picture = np.round(255 * error_map(found, truth)).astype(int)
    hexes = ["#" + "".join(f"{value:02X}" for value in pixel) for pixel in picture.reshape(4, 3)]
    assert hexes == ["#FFFFFF", COLOURS[0], COLOURS[4], "#000000"]


def test_classes_have_colours_of_their_own() -> None:
    numbers = np.arange(12).reshape(3, 4)
    colours = {tuple(pixel) for pixel in class_map(numbers).reshape(-1, 3)}
    assert len(colours) == 12
    assert (class_map(numbers)[0, 0] == 0).all()


def test_heat_rises_in_lightness() -> None:
    heat = np.linspace(0, 1, 9)[None]
    picture = heat_map(np.zeros((1, 9, 3), np.uint8), heat)
    lightness = picture @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness[0]) > 0).all()


def test_large_pictures_are_thinned_out() -> None:
    assert small(np.zeros((900, 1500, 3))).shape == (150, 250, 3)
    assert small(np.zeros((30, 50, 3))).shape == (30, 50, 3)


def test_a_grid_of_tall_and_wide_pictures(tmp_path: Path) -> None:
    wide, tall = np.full((20, 60, 3), 0.5), np.full((60, 20, 3), 0.5)
    rows = [("wide", [Cell(wide, "0.12"), None]), ("tall", [Cell(tall), Cell(tall)])]
    draw_grid(rows, ["Image", "LoRA"], tmp_path / "a.png", captions=["a long caption " * 20])
    draw_grid([], ["Image"], tmp_path / "b.png")
    sizes = [Image.open(tmp_path / name).size for name in ("a.png", "b.png")]
    assert sizes[0][1] > sizes[1][1]
