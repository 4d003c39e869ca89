"""Figures of images, from a study that was really trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from segment_anything import SamPredictor
from skimage.transform import resize

from naslora.analysis.grad_cam import grad_cam
from naslora.core.errors import DivergedError
from naslora.data.benchmarks.contract import get_benchmark
from naslora.data.benchmarks.kvasir import Kvasir
from naslora.data.manifest import read_manifest, write_manifest
from naslora.evaluation import predictions
from naslora.evaluation.evaluate import evaluate
from naslora.evaluation.loading import trained_sam
from naslora.report.figures import figure3, figure4, gallery, zero_shot
from naslora.report.figures.catalogue import FIGURES, write_figures
from naslora.report.figures.grid import Cell, Row, draw_grid
from naslora.report.figures.inputs import Inputs, NothingToDrawError
from naslora.report.figures.overlays import contours, heat_overlay
from naslora.report.figures.style import PROMPT
from naslora.results.aggregate import aggregate
from naslora.sam.building import build_sam
from naslora.sam.checkpoints import load_checkpoint
from naslora.study.layout import Layout
from naslora.study.records import read_receipt
from naslora.study.settings import Study, load_study
from naslora.training.pretraining.prompts import boxed, centre_click, largest_regions
from naslora.training.train import train
from tests.report.figures.conftest import Drawn
from tests.report.figures.pages import check_page

Copy = Callable[..., Study]
TASK = "kvasir"


@pytest.fixture
def grids(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The rows and headings of the grids that are drawn."""
    seen: list[dict[str, Any]] = []

    def keep(rows: list[Row], headings: list[str], **others: Any) -> Any:
        seen.append({"rows": rows, "headings": headings, **others})
        return draw_grid(rows, headings, **others)

    for module in (figure3, figure4, gallery, zero_shot):
        monkeypatch.setattr(module, "draw_grid", keep)
    return seen


def scores_of(study: Study, method: str) -> pd.Series:
    """The per-image scores of Kvasir's main metric."""
    path = Layout.of(study).per_image(TASK, method, 0)
    return pd.read_parquet(path).set_index("id")["S_measure"]


def expected_order(study: Study) -> list[str]:
    """Test images by their mean score over methods, the best first."""
    mean = sum(scores_of(study, method) for method in study.methods) / len(study.methods)
    return sorted(mean.index, key=lambda name: (-mean[name], name))


def masks_of(study: Study, method: str) -> dict[str, np.ndarray]:
    """What a run predicts for each test image, by the code of the evaluation."""
    layout = Layout.of(study)
    manifest = read_manifest(layout.manifest(TASK))
    receipt = read_receipt(layout.receipt(TASK, method, 0))
    sam = trained_sam(study, get_benchmark(TASK), method, 0, receipt)
    ids = [sample.id for sample in manifest.of("test")]
    found = predictions.predictions(study, manifest, "test", sam)
    return {name: one > 0.5 for name, one in zip(ids, found, strict=True)}


def native(study: Study, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A test image and its true mask."""
    images = predictions.test_images(study, read_manifest(Layout.of(study).manifest(TASK)), "test")
    index = {sample.id: i for i, sample in enumerate(images.samples)}[name]
    return images.native_image(index), images.native_mask(index) > 0


def test_figure_3_shows_each_rank_in_a_picture_of_its_own(
    trained_study: Study, drawn: dict[str, Drawn], grids: list[dict[str, Any]]
) -> None:
    write_figures(trained_study, ["figure3"])
    ranked = expected_order(trained_study)
    places = {"figure3": 0, "figure3_best": 0, "figure3_worst": 1}  # of two images
    assert list(drawn) == list(places)
    masks = {method: masks_of(trained_study, method) for method in trained_study.methods}
    for grid, (name, place) in zip(grids, places.items(), strict=True):
        check_page(name, drawn[name])
        assert grid["headings"] == ["Image", "Truth", "LoRA", "NAS-LoRA"]
        (row,) = grid["rows"]
        assert row.label == "Kvasir\nS"
        image, truth = native(trained_study, ranked[place])
        np.testing.assert_allclose(row.cells[0].picture, image / 255)
        np.testing.assert_array_equal(row.cells[1].picture, np.repeat(truth[..., None], 3, 2))
        for cell, method in zip(row.cells[2:], trained_study.methods, strict=True):
            # White and blue together are the truth, white and orange the prediction.
            white, orange = (cell.picture == 1).all(-1), cell.picture[..., 0] > 0.5
            np.testing.assert_array_equal(white | orange, masks[method][ranked[place]])
            np.testing.assert_array_equal(white, truth & masks[method][ranked[place]])
            score = 100 * scores_of(trained_study, method)[ranked[place]]
            assert cell.note == f"{score:.1f}"
        data = drawn[name].data
        assert set(data["image"]) == {ranked[place]}
        assert data["method"].tolist() == trained_study.methods
        assert "Images ranked: Kvasir 2 images." in drawn[name].caption


def test_the_gallery_outlines_what_methods_predict(
    trained_study: Study, drawn: dict[str, Drawn], grids: list[dict[str, Any]]
) -> None:
    write_figures(trained_study, ["gallery"])
    assert list(drawn) == ["gallery_kvasir"]
    check_page("gallery", drawn["gallery_kvasir"])
    ranked = expected_order(trained_study)
    (grid,) = grids
    assert grid["headings"] == ["Image and truth", "LoRA", "NAS-LoRA"]
    assert [row.label for row in grid["rows"]] == ["best", "worst"]
    for row, name in zip(grid["rows"], ranked, strict=True):
        _, truth = native(trained_study, name)
        around = contours(truth)
        for cell, method in zip(row.cells[1:], trained_study.methods, strict=True):
            mask = masks_of(trained_study, method)[name]
            expected = [*around, *contours(mask)]
            assert len(cell.outlines) == len(expected)
            for (line, _), wanted in zip(cell.outlines, expected, strict=True):
                np.testing.assert_array_equal(line, wanted)
    assert drawn["gallery_kvasir"].caption.startswith(
        "Best and worst of 2 test images of Kvasir by S, averaged over 2 runs."
    )


def test_adaptation_shows_what_metas_predictor_gives_and_what_is_learnt(
    trained_study: Study, drawn: dict[str, Drawn], grids: list[dict[str, Any]]
) -> None:
    write_figures(trained_study, ["adaptation"])
    check_page("adaptation", drawn["adaptation"])
    (grid,) = grids
    assert grid["headings"][4:] == ["LoRA"]
    (row,) = grid["rows"]
    name = expected_order(trained_study)[0]
    _, truth = native(trained_study, name)
    images = predictions.test_images(
        trained_study, read_manifest(Layout.of(trained_study).manifest(TASK)), "test"
    )
    pixels, labels = images[{sample.id: i for i, sample in enumerate(images.samples)}[name]]
    sam = build_sam("tiny", 64, decoder="original").eval()
    load_checkpoint(sam, Layout.of(trained_study).backbone())
    predictor = SamPredictor(sam)
    predictor.set_image(pixels.permute(1, 2, 0).numpy())
    answers = [np.zeros(truth.shape, bool), np.zeros(truth.shape, bool)]
    for region in largest_regions(labels.numpy()):
        ((x, y), _), _ = centre_click(region)
        ((left, top), (right, bottom)), _ = boxed(None, region)
        click = {"point_coords": np.array([[x, y]]), "point_labels": np.array([1])}
        box = {"box": np.array([left, top, right, bottom]), "multimask_output": False}
        for answer, prompt in zip(answers, (click, box), strict=True):
            _, quality, low = predictor.predict(**prompt)
            best = torch.from_numpy(low[quality.argmax()])[None, None]
            answer |= (F.interpolate(best, truth.shape, mode="bilinear")[0, 0] > 0).numpy()
    for cell, answer in zip(row.cells[2:4], answers, strict=True):
        shown = (cell.picture == 1).all(-1) | (cell.picture[..., 0] > 0.5)
        assert (shown != answer).mean() < 1e-3
        iou = (answer & truth).sum() / (answer | truth).sum()
        assert float(cell.note) == pytest.approx(100 * iou, abs=1)
    assert {colour for _, colour in row.cells[0].outlines} == {PROMPT}
    marks = {label: handle.get_markeredgecolor() for handle, label in grid["legend"][:2]}
    assert marks == {"click": PROMPT, "box": PROMPT}, "told apart by their shapes"
    learnt = masks_of(trained_study, "lora")[name]
    shown = (row.cells[4].picture == 1).all(-1) | (row.cells[4].picture[..., 0] > 0.5)
    np.testing.assert_array_equal(shown, learnt)
    data = drawn["adaptation"].data
    assert data["prediction"].tolist() == ["click", "box", "lora"]
    assert 0 <= data["iou"].min() <= data["iou"].max() <= 100


def test_figure_4_shows_the_maps_of_every_method(
    trained_study: Study, drawn: dict[str, Drawn], grids: list[dict[str, Any]]
) -> None:
    write_figures(trained_study, ["figure4"])
    check_page("figure4", drawn["figure4"])
    (grid,) = grids
    assert [row.label for row in grid["rows"]] == ["best", "worst"]
    images = predictions.test_images(
        trained_study, read_manifest(Layout.of(trained_study).manifest(TASK)), "test"
    )
    index = {sample.id: i for i, sample in enumerate(images.samples)}
    sample = index[expected_order(trained_study)[0]]
    receipt = read_receipt(Layout.of(trained_study).receipt(TASK, "nas_lora", 0))
    sam = trained_sam(trained_study, get_benchmark(TASK), "nas_lora", 0, receipt)
    heat = grad_cam(sam, images[sample][0][None])[0].numpy()
    image = images.native_image(sample)
    sized = np.clip(resize(heat, image.shape[:2], order=1), 0, 1)
    expected = heat_overlay(image / 255, sized)
    bar = drawn["figure4"].canvas.axes[-1]
    assert bar.get_title() == "Grad-CAM, scaled per map"
    np.testing.assert_allclose(grid["rows"][0].cells[-1].picture, expected, atol=1e-5)


def test_images_whose_terms_forbid_it_are_not_shown(
    trained_study: Study,
    drawn: dict[str, Drawn],
    copied: Copy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = copied(of=trained_study)
    path = Layout.of(study).manifest(TASK)
    manifest = read_manifest(path)
    assert Inputs(study, aggregate(study)).may_show(TASK), "generated images belong to nobody"
    write_manifest(path, manifest.model_copy(update={"generated": False}))
    assert not Inputs(study, aggregate(study)).may_show(TASK)
    for name in ("figure3", "adaptation", "figure4", "gallery"):
        inputs = Inputs(study, aggregate(trained_study))
        picture = FIGURES[name].pictures(study)[0]
        with pytest.raises(NothingToDrawError, match=r"terms of the data: Kvasir|may be shown"):
            picture.draw(inputs, Path("unused.png"))
    assert drawn == {}
    monkeypatch.setattr(Kvasir, "may_be_shown", True)
    assert Inputs(study, aggregate(study)).may_show(TASK)


def test_which_real_images_may_be_shown() -> None:
    own = set(load_study("paper").tasks)  # without those that other tests registered
    shown = {name for name in own if get_benchmark(name).may_be_shown}
    assert shown == {"isic2017", "road"}


def test_a_run_that_diverged_is_left_out(trained_study: Study, copied: Copy) -> None:
    changes = {"variants": {}, "method_settings": {}}
    study = copied(changes | {"training.learning_rate": 1e30}, of=trained_study)
    with pytest.raises(DivergedError):
        train(study, TASK, "lora", 0)
    evaluate(study, TASK, "lora", 0)
    # The other method was trained with another rate, and so is left out too.
    with pytest.raises(NothingToDrawError) as caught:
        write_figures(study, ["figure3", "gallery"])
    figures, gallery = caught.value.what.splitlines()
    assert figures.startswith("figure3")
    assert "no run is done, or no image may be shown" in figures
    assert "gallery_kvasir: No run is done: Kvasir." in gallery


def test_a_missing_run_leaves_a_gap(
    trained_study: Study, drawn: dict[str, Drawn], grids: list[dict[str, Any]], copied: Copy
) -> None:
    study = copied(of=trained_study)
    Layout.of(study).record(TASK, "lora", 0).unlink()
    write_figures(study, ["figure3", "figure4", "gallery"])
    *three, four, outlines = grids
    assert len(three) == 3
    assert three[0]["rows"][0].cells[2] is None
    assert four["rows"][0].cells[2] is None
    assert "no run" in drawn["figure3"].words
    assert outlines["headings"] == ["Image and truth", "NAS-LoRA"]
    assert drawn["gallery_kvasir"].caption.endswith("Not done: LoRA.")


def test_pictures_are_written_the_same_again(trained_study: Study, copied: Copy) -> None:
    study = copied(of=trained_study)
    paths = write_figures(study, ["figure3", "figure4", "gallery"])
    before = {path: path.read_bytes() for path in paths}
    for path in write_figures(study, ["figure3"]):
        assert path.read_bytes() == before[path]


def test_a_grid_of_tall_and_wide_pictures() -> None:
    wide, tall = np.full((20, 60, 3), 0.5), np.full((60, 20, 3), 0.5)
    rows = [Row("wide", [Cell(wide, "0.12"), None]), Row("tall", [Cell(tall), Cell(tall)])]
    with draw_grid(rows, ["Image", "LoRA"]) as canvas:
        extents = [image.get_extent() for image in canvas.axes[0].get_images()]
    shapes = [((top - bottom) / (right - left)) for left, right, bottom, top in extents]
    np.testing.assert_allclose(shapes, [1 / 3, 3, 3])


def test_a_grid_breaks_lines() -> None:
    grey = np.full((20, 20, 3), 0.5)
    headings = [f"Method-{i}" for i in range(9)]
    with draw_grid([Row("a", [Cell(grey)] * 9)], headings, across=7) as canvas:
        axes = canvas.axes[0]
        words = [text.get_text() for text in axes.texts]
        assert [word for word in words if word.startswith("Method")] == headings
        bottoms = [image.get_extent()[2] for image in axes.get_images()]
    assert len(set(bottoms[:5])) == 1
    assert len(set(bottoms[5:])) == 1
    assert bottoms[5] < bottoms[0]
