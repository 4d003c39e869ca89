"""Void pixels count in no metric and in no control."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from naslora.data.masks import IGNORE, PaletteMask
from naslora.evaluation import controls
from naslora.evaluation.binary import BinaryMetrics
from naslora.evaluation.controls import best_iou_threshold
from naslora.evaluation.multiclass import MultiClassMetrics

COUNTED = ("IoU", "Dice", "Acc", "T_Jac", "BER_image", "BER")
CLASSES = ("background", "cup", "door")
SEEDS = st.integers(0, 2**32 - 1)


def scene(seed: int, highest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, probabilities and void pixels of an image of 12 x 9 pixels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, highest + 1, (12, 9), np.uint8)
    return labels, rng.random((12, 9)), rng.random((12, 9)) < rng.uniform(0, 0.9)


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_counts_are_those_of_the_other_pixels(seed: int) -> None:
    """The values are those of an image that consists of the pixels that are not void."""
    labels, probability, void = scene(seed, 1)
    void.ravel()[:2] = False
    target = np.where(void, IGNORE, labels).astype(np.uint8)
    rest = BinaryMetrics(COUNTED).update(probability[~void][None], labels[~void][None])
    assert BinaryMetrics(COUNTED).update(probability, target) == rest
    noise = np.where(void, np.random.default_rng(seed).random(void.shape), probability)
    names = (*COUNTED, "S_measure", "E_measure", "weighted_F")
    assert BinaryMetrics(names).update(noise, target) == BinaryMetrics(names).update(
        probability, target
    ), "what is predicted on void pixels does not matter"


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_classes_are_counted_on_the_other_pixels(seed: int) -> None:
    labels, _, void = scene(seed, 2)
    predicted = np.random.default_rng(seed + 1).integers(0, 3, labels.shape, np.uint8)
    void.ravel()[0] = False
    target = np.where(void, IGNORE, labels).astype(np.uint8)
    rest = MultiClassMetrics(CLASSES).update(predicted[~void][None], labels[~void][None])
    assert MultiClassMetrics(CLASSES).update(predicted, target) == rest


def test_structure_compares_void_pixels_as_background() -> None:
    labels, probability, void = scene(3, 1)
    target = np.where(void, IGNORE, labels).astype(np.uint8)
    names = ("S_measure", "E_measure", "E_measure_max", "weighted_F")
    lowest = probability[~void].min()
    same = BinaryMetrics(names).update(
        np.where(void, lowest, probability), np.where(void, 0, labels).astype(np.uint8)
    )
    assert BinaryMetrics(names).update(probability, target) == same


def test_an_image_without_any_other_pixel_is_an_error() -> None:
    target = np.full((4, 4), IGNORE, np.uint8)
    with pytest.raises(ValueError, match="every pixel of the mask is void"):
        BinaryMetrics().update(np.zeros((4, 4)), target)
    with pytest.raises(ValueError, match="every pixel of the mask is void"):
        MultiClassMetrics(CLASSES).update(np.zeros((4, 4), np.uint8), target)


def test_the_best_threshold_leaves_void_pixels_aside() -> None:
    mean = np.array([[0.9, 0.6], [0.4, 0.1]], np.float32)
    mask = np.array([[1, 0], [0, 0]], np.uint8)
    assert 0.6 <= best_iou_threshold(mean, [mask]) < 0.62
    mask[0, 1] = IGNORE
    assert 0.4 <= best_iou_threshold(mean, [mask]) < 0.42


def mean_of(labels: np.ndarray, classes: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """The shares of classes among masks (N, ...), and how many are not void, as `mean_mask`."""
    valid = (labels != IGNORE).sum(0)
    shares = np.stack([(labels == index).sum(0) for index in classes]) / np.maximum(valid, 1)
    return shares.astype(np.float32), valid


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_thresholds_are_the_best_over_the_other_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    chances = rng.dirichlet([1, 1, 1], (6, 5))
    labels = (chances.cumsum(-1)[None] < rng.random((12, 6, 5, 1))).sum(-1)
    labels[rng.random(labels.shape) < rng.uniform(0, 0.9, (6, 5))] = IGNORE
    labels[:, 0] = IGNORE
    labels[0, 1, :3] = 0, 1, 2
    known = labels != IGNORE

    (mean,), valid = mean_of(labels, [1])

    def ber(threshold: float) -> float:
        chosen = np.broadcast_to(mean > threshold, labels.shape)
        truth = (labels == 1)[known]
        return 1 - chosen[known][truth].mean() + chosen[known][~truth].mean()

    found = controls.least_ber_threshold(mean, valid)
    assert ber(found) == pytest.approx(min(map(ber, controls.THRESHOLDS)), abs=1e-6)

    means, valid = mean_of(labels, [0, 1, 2])

    def miou(threshold: float) -> float:
        predicted = np.broadcast_to(controls._cut(means, threshold), labels.shape)[known]
        truth = labels[known]
        pairs = [(predicted == index, truth == index) for index in (1, 2)]
        return float(np.mean([(a & b).sum() / (a | b).sum() for a, b in pairs]))

    found = controls.best_miou_threshold(means, valid)
    assert miou(found) == pytest.approx(max(map(miou, controls.THRESHOLDS)), abs=1e-6)
    made = controls.multiclass_controls(means, valid, found)["control_foreground"]((2, 2))
    pixels = [(labels == index).sum() for index in (1, 2)]
    assert pixels[int(made[0, 0]) - 1] == max(pixels)


def test_without_void_pixels_every_weight_is_exactly_one() -> None:
    """So results of data sets without void pixels are the same to the last bit."""
    for number in (1, 3, 41, 600, 10_000, 2**31 - 1):
        assert (controls._weights(np.full((4, 4), number)) == 1).all()


def test_a_mask_of_indices_with_void() -> None:
    from PIL import Image

    pixels = np.array([[0, 1], [2, 255]], np.uint8)
    decoded = PaletteMask(3, void=True).decode(Image.fromarray(pixels))
    assert decoded.problem is None
    assert decoded.labels.tolist() == [[0, 1], [2, IGNORE]]
    assert "255" in str(PaletteMask(3).decode(Image.fromarray(pixels)).problem)
