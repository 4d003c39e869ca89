from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from naslora.report.figures import class_maps
from naslora.report.figures.class_maps import CLASS_COLOURS, draw_class_maps

CLASSES = ("background", *(f"kind {number}" for number in range(1, 12)))
Maps = list[np.ndarray]


def scene() -> tuple[Maps, Maps, Maps]:
    """Two grey images with regions of classes 2 and 9, and a prediction that adds class 5."""
    images, truths, predictions = [], [], []
    for height in (60, 90):
        images.append(np.full((height, 80, 3), 180, np.uint8))
        truth = np.zeros((height, 80), np.uint8)
        truth[5:30, 10:40], truth[35:55, 45:75] = 2, 9
        truths.append(truth)
        predicted = truth.copy()
        predicted[5:30, 25:40] = 5
        predictions.append(predicted)
    return images, truths, predictions


def draw(path: Path, *, predicted: Maps | None = None) -> np.ndarray:
    images, truths, predictions = scene()
    columns = {"LoRA": predicted or predictions}
    draw_class_maps(images, truths, columns, ["best", "worst"], CLASSES, path, "a rule")
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def share_of(picture: np.ndarray, number: int) -> float:
    """Of pixels in a class's colour, as it is over the grey of the images."""
    colour = CLASS_COLOURS[number - 1]
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    wanted = class_maps._COLOURED * wanted + (1 - class_maps._COLOURED) * 180
    return float((np.abs(picture - wanted).max(axis=-1) < 6).mean())


@pytest.fixture
def legend(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The labels of the legend that is drawn, and last the caption."""
    seen: list[str] = []

    def note(*_: Any, legend: Any, caption: str, **__: Any) -> None:
        seen.extend([*(label for _, label in legend), caption])

    monkeypatch.setattr(class_maps, "draw_panels", note)
    return seen


def test_regions_have_the_colours_of_their_classes(tmp_path: Path) -> None:
    picture = draw(tmp_path / "a.png")
    assert share_of(picture, 9) > 0.02
    assert 0 < share_of(picture, 5) < share_of(picture, 2)
    assert share_of(picture, 7) == 0
    blank = draw(tmp_path / "b.png", predicted=[np.zeros_like(m) for m in scene()[1]])
    assert share_of(blank, 5) == 0
    assert share_of(blank, 9) == pytest.approx(share_of(picture, 9) / 2, rel=0.1)


def test_the_legend_has_the_classes_of_the_picture(tmp_path: Path, legend: list[str]) -> None:
    images, truths, predictions = scene()
    draw_class_maps(images, truths, {"LoRA": predictions}, ["a", "b"], CLASSES, tmp_path, "a rule")
    assert legend[:-1] == ["2 kind 2", "5 kind 5", "9 kind 9"]
    assert legend[-1].startswith("a rule; ")
    assert "mIoU" in legend[-1]


def test_every_kind_has_a_colour_of_its_own() -> None:
    assert len(set(CLASS_COLOURS)) == len(CLASS_COLOURS) == 11
    rgb = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in CLASS_COLOURS])
    apart = np.abs(rgb[:, None] - rgb[None]).sum(axis=2) + 1000 * np.eye(11)
    assert apart.min() > 80


def test_the_same_bytes_again(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    draw(tmp_path / "b.png")
    for suffix in (".png", ".pdf"):
        first, second = (tmp_path / f"{name}{suffix}" for name in "ab")
        assert first.read_bytes() == second.read_bytes()


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    images, truths, predictions = scene()
    for columns, titles, says in (
        ({"LoRA": predictions[:1]}, ["a", "b"], "2 images, but 1 of LoRA"),
        ({"LoRA": predictions[::-1]}, ["a", "b"], "LoRA of"),
        ({"LoRA": predictions}, ["a"], "2 images, but 1 of titles"),
        ({"LoRA": [m + np.uint8(10) for m in predictions]}, ["a", "b"], "of 12 classes"),
    ):
        with pytest.raises(ValueError, match=says):
            draw_class_maps(images, truths, columns, titles, CLASSES, tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
