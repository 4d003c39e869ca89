"""Masks, classes and heat on images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb

from naslora.data.benchmarks.contract import benchmark_names, get_benchmark
from naslora.data.masks import IGNORE
from naslora.report.figures.figure3 import classes_shown
from naslora.report.figures.inputs import TaskImages
from naslora.report.figures.overlays import (
    boundary_overlay,
    class_map,
    class_overlay,
    contours,
    error_map,
    heat_overlay,
    numbered_regions,
    smaller_labels,
    thumbnail,
)
from naslora.report.figures.style import CLASS_COLOURS, FALSE_ALARM, MISSED, RIGHT

GREY = np.full((40, 60, 3), 150, np.uint8)


def labels(*numbers: int) -> np.ndarray:
    """A column of 10 x 10 squares of these classes on background."""
    found = np.zeros((40, 60), np.uint8)
    for place, number in enumerate(numbers):
        found[5:15, 12 * place + 1 : 12 * place + 11] = number
    return found


def test_an_error_map_tells_all_four_cases() -> None:
    truth = np.array([[True, True], [False, False]])
    found = np.array([[True, False], [True, False]])
    picture = error_map(found, truth).reshape(4, 3)
    expected = [to_rgb(colour) for colour in (RIGHT, MISSED, FALSE_ALARM, "#000000")]
    np.testing.assert_allclose(picture, expected)


def test_an_error_map_of_nothing_is_black() -> None:
    nothing = np.zeros((4, 5), bool)
    assert not error_map(nothing, nothing).any()
    assert (error_map(~nothing, ~nothing) == 1).all()


def test_void_pixels_are_drawn_as_background() -> None:
    choice: Any = None
    found = TaskImages(
        choice=choice,
        ranks=("median",),
        images={},
        truths={"median": np.array([[0, 2, IGNORE]], np.uint8)},
        predicted={"lora": {"median": np.array([[1, 2, 2]], np.uint8)}},
        seeds={"lora": 0},
    )
    assert found.shown_truth("median").tolist() == [[0, 2, 0]]
    assert classes_shown(found, ["median"]) == [0, 1, 2]


@given(st.sets(st.integers(1, 11), min_size=1))
def test_a_class_has_its_colour_whichever_others_are_there(numbers: set[int]) -> None:
    picture = class_map(np.array([[0, *sorted(numbers)]]), CLASS_COLOURS)
    np.testing.assert_allclose(picture[0, 0], 0)
    for place, number in enumerate(sorted(numbers), start=1):
        np.testing.assert_allclose(picture[0, place], to_rgb(CLASS_COLOURS[number - 1]))


def test_classes_are_drawn_over_the_image_in_grey() -> None:
    image = np.stack([np.full((40, 60), v, np.uint8) for v in (200, 100, 50)], -1)
    picture = class_overlay(image, labels(3, 7), CLASS_COLOURS)
    grey = np.ptp(picture, axis=-1)
    assert grey[30:].max() < 1e-9
    assert picture[35, 35, 0] == pytest.approx(
        np.dot([200, 100, 50], [0.2125, 0.7154, 0.0721]) / 255
    )
    for x, number in ((5, 3), (17, 7)):
        expected = 0.6 * np.array(to_rgb(CLASS_COLOURS[number - 1])) + 0.4 * picture[35, 35]
        np.testing.assert_allclose(picture[10, x], expected, atol=1e-6)


def test_heat_darkens_and_colours() -> None:
    heat = np.linspace(0, 1, 9)[None]
    picture = heat_overlay(np.full((1, 9, 3), 128, np.uint8), heat)
    lightness = picture[0] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness[2:]) < 0).all()
    assert np.ptp(lightness[:3]) < 0.05
    assert lightness[0] > 0.6, "an image without heat is light, not black"
    assert np.ptp(picture[0, -1]) > 0.4 > np.ptp(picture[0, 0])


def test_contours_close_around_regions_and_at_the_border() -> None:
    mask = np.zeros((20, 30), bool)
    mask[5:10, 7:13] = True
    mask[15:, 25:] = True
    inner, corner = sorted(contours(mask), key=lambda line: line[:, 0].max())
    for line in (inner, corner):
        np.testing.assert_array_equal(line[0], line[-1])
    assert inner.min(0).tolist() == [6.5, 4.5]
    assert inner.max(0).tolist() == [12.5, 9.5]
    assert corner.max(0).tolist() == [29.5, 19.5]
    assert contours(np.zeros((4, 4), bool)) == []


def test_regions_are_numbered_inside_themselves() -> None:
    numbers = labels(4, 2, 9)
    numbers[30, 30] = 5  # too small for a number
    found = list(numbered_regions(numbers))
    assert sorted(number for _, _, number in found) == [2, 4, 9]
    for x, y, number in found:
        assert numbers[int(y), int(x)] == number
        near = numbers[int(y) - 4 : int(y) + 5, int(x) - 4 : int(x) + 5]
        assert (near == number).all(), "where there is most room"


def test_thumbnails_are_averages_not_every_nth_pixel() -> None:
    stripes = np.zeros((300, 300, 3), np.uint8)
    stripes[:, ::3] = 255
    small = thumbnail(stripes, 50)
    assert small.shape == (50, 50, 3)
    np.testing.assert_allclose(small[5:-5, 5:-5], 1 / 3, atol=0.05)
    assert thumbnail(stripes[:20, :30], 50).shape == (20, 30, 3)


def test_smaller_labels_hold_the_same_classes() -> None:
    numbers = np.repeat(np.repeat(labels(4, 2, 9), 10, 0), 10, 1)
    small = smaller_labels(numbers, 60)
    assert small.shape == (40, 60)
    assert small.dtype == np.uint8
    np.testing.assert_array_equal(small, labels(4, 2, 9))


@pytest.mark.parametrize("name", benchmark_names())
def test_boundaries_follow_the_masks(name: str) -> None:
    """Every painted pixel lies inside a region and within two pixels of its edge."""
    several = len(get_benchmark(name).classes) > 1
    numbers = np.zeros((150, 150), np.uint8)
    numbers[40:80, 30:90] = 1
    last = max(len(get_benchmark(name).classes) - 1, 1)
    numbers[100:, 100:] = last
    grey = np.full((150, 150, 3), 90, np.uint8)
    picture = boundary_overlay(grey, numbers, CLASS_COLOURS if several else ())
    changed = np.abs(picture - 90 / 255).max(axis=2) > 0.01
    assert changed[40, 30:90].all()
    assert changed[79, 30:90].all()
    assert changed[100, 100:149].all()
    assert not changed[60, 34:86].any(), "the inside stays"
    assert not changed[:36].any(), "the outside stays"
    np.testing.assert_allclose(picture[40, 60], to_rgb(CLASS_COLOURS[0] if several else RIGHT))
    if last > 1:
        assert np.abs(picture[100, 120] - picture[40, 60]).max() > 0.1
