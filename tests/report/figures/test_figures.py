from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from naslora.report.figures import curves
from naslora.report.figures.curves import draw_losses
from naslora.report.figures.outlines import PREDICTION_COLOUR, draw_outlines
from naslora.report.figures.style import OTHERS, SEARCHED
from naslora.results.aggregate import aggregate
from naslora.study.settings import Study


def scene(
    heights: tuple[int, ...] = (60, 90),
) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    images, truths, predictions = [], [], []
    for height in heights:
        images.append(np.full((height, 80, 3), (190, 90, 70), dtype=np.uint8))
        truth = np.zeros((height, 80), dtype=np.uint8)
        truth[:30, 10:40] = 1
        truths.append(truth)
        predictions.append(np.roll(truth, 12, axis=1) * 0.9)
    return images, truths, predictions


def draw(path: Path, predictions: dict[str, list[np.ndarray]] | None = None) -> np.ndarray:
    images, truths, shifted = scene()
    draw_outlines(images, truths, predictions or {"LoRA": shifted}, ["best", "worst"], path)
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def share_of(picture: np.ndarray, colour: str) -> float:
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return float((np.abs(picture - wanted).max(axis=-1) < 8).mean())


def test_outlines_are_drawn(tmp_path: Path) -> None:
    picture = draw(tmp_path / "a.png")
    blank = draw(tmp_path / "b.png", {"LoRA": [np.zeros((60, 80)), np.zeros((90, 80))]})
    assert picture.shape == blank.shape
    # The legend alone has the colour when nothing is predicted.
    assert share_of(picture, PREDICTION_COLOUR) > 1.5 * share_of(blank, PREDICTION_COLOUR) > 0


def test_a_column_per_method_and_a_row_per_image(tmp_path: Path) -> None:
    _, _, shifted = scene()
    one = draw(tmp_path / "a.png")
    two = draw(tmp_path / "b.png", {"LoRA": shifted, "NAS-LoRA": shifted})
    assert two.shape[1] > 1.4 * one.shape[1]
    assert two.shape[0] == one.shape[0]


def test_full_masks_and_labels_are_fine(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", {"LoRA": [np.ones((60, 80)), np.ones((90, 80))]})


def test_outlines_give_the_same_bytes_in_any_style(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    with matplotlib.rc_context({"font.size": 30, "figure.dpi": 33, "axes.titleweight": "bold"}):
        draw(tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert b"Software" not in (tmp_path / "a.png").read_bytes()


def test_outlines_refuse_what_does_not_fit(tmp_path: Path) -> None:
    images, truths, shifted = scene()
    path, titles = tmp_path / "a.png", ["best", "worst"]
    with pytest.raises(ValueError, match="2 images, but 1 of LoRA"):
        draw_outlines(images, truths, {"LoRA": shifted[:1]}, titles, path)
    with pytest.raises(ValueError, match="LoRA of"):
        draw_outlines(images, truths, {"LoRA": shifted[::-1]}, titles, path)
    with pytest.raises(ValueError, match="no image"):
        draw_outlines([], [], {}, [], path)
    assert list(tmp_path.iterdir()) == []


def test_a_figure_is_png_and_pdf_with_the_same_bytes_again(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    draw(tmp_path / "b.png")
    one, other = ((tmp_path / name).read_bytes() for name in ("a.pdf", "b.pdf"))
    assert one.startswith(b"%PDF")
    assert one == other
    assert b"CreationDate" not in one


def test_losses(full_study: Study, tmp_path: Path) -> None:
    first, second = tmp_path / "a.png", tmp_path / "b.png"
    draw_losses(full_study, aggregate(full_study), first)
    draw_losses(full_study, aggregate(full_study), second)
    assert first.read_bytes() == second.read_bytes()
    picture = np.asarray(Image.open(first).convert("RGB")).astype(int)
    for colour in (*SEARCHED.values(), OTHERS):
        assert share_of(picture, colour) > 5e-4, colour


def test_the_mean_and_its_band(full_study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses of three seeds are 2 / epoch + 0, 0.1, 0.2: their standard deviation is 0.1."""
    canvases: list[Figure] = []
    monkeypatch.setattr(curves, "save_figure", lambda canvas, path: canvases.append(canvas))
    draw_losses(full_study, aggregate(full_study), Path("unused.png"))
    (axes,) = canvases[0].axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "training loss")
    lines = {line.get_color(): line for line in axes.get_lines()}
    bands = axes.collections
    assert len(bands) == len(SEARCHED)
    for colour in SEARCHED.values():
        np.testing.assert_allclose(lines[colour].get_xdata(), [1, 2, 3, 4])
        np.testing.assert_allclose(lines[colour].get_ydata(), 2 / np.arange(1, 5) + 0.1)
    for band in bands:
        corners = band.get_paths()[0].vertices
        np.testing.assert_allclose([corners[:, 1].min(), corners[:, 1].max()], [0.5, 2.2])
    start = full_study.training.architecture.start_epoch
    assert start + 0.5 in [line.get_xdata()[0] for line in axes.get_lines()]
    assert f"$T_B$ = {start}" in [text.get_text() for text in axes.texts]


def test_losses_without_runs(
    study: Study, make_study: Callable[..., Study], tmp_path: Path
) -> None:
    draw_losses(study, aggregate(study), tmp_path / "a.png")
    wide = make_study(tmp_path, tasks=["kvasir", "sbu", "leaf", "road"])
    draw_losses(wide, aggregate(wide), tmp_path / "b.png")
    sizes = [Image.open(tmp_path / name).size for name in ("a.png", "b.png")]
    assert sizes[1][0] > sizes[0][0]
    assert sizes[1][1] > sizes[0][1]
