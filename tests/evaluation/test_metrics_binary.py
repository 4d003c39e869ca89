from __future__ import annotations

import math

import numpy as np
import py_sod_metrics
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from naslora.core.errors import DivergedError
from naslora.evaluation.metrics import BINARY_METRICS, BinaryMetrics, make_metrics

PERCENT = {"BER", "BER_image"}


def random_set(count: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        height, width = rng.integers(5, 40, size=2)
        rows, columns = np.mgrid[:height, :width]
        centre = rng.uniform(0, height), rng.uniform(0, width)
        distance = np.hypot(rows - centre[0], columns - centre[1])
        target = (distance < rng.uniform(3, 12)).astype(np.uint8)
        noise = rng.normal(0, 0.3, size=target.shape)
        probability = np.clip(0.2 + 0.6 * target + noise, 0, 1).astype(np.float32)
        images.append((probability, target))
    return images


def evaluate(images: list[tuple[np.ndarray, np.ndarray]], *names: str) -> dict[str, float]:
    metrics = BinaryMetrics(names or BINARY_METRICS)
    for probability, target in images:
        metrics.update(probability, target)
    return metrics.compute()


def test_equal_pysodmetrics_on_a_set() -> None:
    images = random_set(12)
    structure, alignment = py_sod_metrics.Smeasure(), py_sod_metrics.Emeasure()
    weighted, precise = (py_sod_metrics.WeightedFmeasure(beta=beta) for beta in (1, 0.3))
    for probability, target in images:
        for measure in (structure, alignment, weighted, precise):
            measure.step(pred=probability.astype(np.float64) * 255, gt=target * 255)
    em = alignment.get_results()["em"]
    expected = {
        "S_measure": structure.get_results()["sm"],
        "E_measure": em["curve"].mean(),
        "E_measure_max": em["curve"].max(),
        "E_measure_adaptive": em["adp"],
        "weighted_F": weighted.get_results()["wfm"],
        "weighted_F_03": precise.get_results()["wfm"],
    }
    assert evaluate(images, *expected) == pytest.approx(expected, abs=1e-12)
    assert expected["E_measure_max"] - expected["E_measure"] > 1e-3


def test_ber_equals_pysodmetrics_on_images_with_both_classes() -> None:
    images = [(p, t) for p, t in random_set(12) if 0 < t.mean() < 1]
    handlers = {
        by_image: py_sod_metrics.BERHandler(
            with_dynamic=False, with_adaptive=False, with_binary=True, sample_based=by_image
        )
        for by_image in (True, False)
    }
    measure = py_sod_metrics.FmeasureV2(
        metric_handlers={"image": handlers[True], "set": handlers[False]}
    )
    for probability, target in images:
        measure.step(pred=(probability > 0.5) * 255.0, gt=target * 255)
    found = evaluate(images, "BER", "BER_image")
    results = measure.get_results()
    assert found["BER"] == pytest.approx(100 * results["set"]["binary"], abs=1e-9)
    assert found["BER_image"] == pytest.approx(100 * results["image"]["binary"], abs=1e-9)
    assert abs(found["BER"] - found["BER_image"]) > 1e-3


def test_equal_naive_loops() -> None:
    images = random_set(8, seed=3)
    sums = dict.fromkeys(("IoU", "Dice", "Acc", "T_Jac", "BER_image"), 0.0)
    wrong_positive = wrong_negative = positives = negatives = 0
    for probability, target in images:
        tp = fp = fn = tn = 0
        for p, t in zip(probability.ravel().tolist(), target.ravel().tolist(), strict=True):
            if p > 0.5:
                tp, fp = (tp + 1, fp) if t else (tp, fp + 1)
            else:
                fn, tn = (fn + 1, tn) if t else (fn, tn + 1)
        jaccard = tp / (tp + fp + fn)
        sums["IoU"] += jaccard
        sums["T_Jac"] += jaccard if jaccard >= 0.65 else 0
        sums["Dice"] += 2 * tp / (2 * tp + fp + fn)
        sums["Acc"] += (tp + tn) / (tp + fp + fn + tn)
        sums["BER_image"] += 50 * (fn / (tp + fn) + fp / (fp + tn))
        wrong_positive, wrong_negative = wrong_positive + fn, wrong_negative + fp
        positives, negatives = positives + tp + fn, negatives + fp + tn
    expected = {name: value / len(images) for name, value in sums.items()}
    expected["BER"] = 50 * (wrong_positive / positives + wrong_negative / negatives)
    assert evaluate(images, *expected) == pytest.approx(expected, abs=1e-12)
    assert 0 < expected["T_Jac"] < expected["IoU"]


def jaccard_pair(intersection: int, union: int) -> tuple[np.ndarray, np.ndarray]:
    target = np.zeros((10, 20), dtype=np.uint8)
    target.ravel()[:union] = 1
    probability = np.zeros((10, 20))
    probability.ravel()[:intersection] = 1
    return probability, target


def test_thresholded_jaccard_keeps_exactly_its_floor() -> None:
    assert evaluate([jaccard_pair(65, 100)], "T_Jac") == {"T_Jac": 0.65}
    assert evaluate([jaccard_pair(64, 100)], "T_Jac") == {"T_Jac": 0.0}


def test_a_probability_of_one_half_is_background() -> None:
    half, target = np.full((4, 4), 0.5), np.ones((4, 4), dtype=np.uint8)
    assert evaluate([(half, target)], "IoU")["IoU"] == 0
    assert evaluate([(half + 1e-6, target)], "IoU")["IoU"] == 1


SHAPE = (8, 9)
EMPTY, FULL = np.zeros(SHAPE, dtype=np.uint8), np.ones(SHAPE, dtype=np.uint8)
N = EMPTY.size


@pytest.mark.parametrize(
    ("prediction", "target", "expected"),
    [
        (
            EMPTY,
            EMPTY,
            # Threshold 0 of the curve calls everything foreground, and so does twice a mean of 0.
            {"S_measure": 1, "E_measure": 255 / 256 * N / (N - 1), "E_measure_adaptive": 0}
            | {
                "weighted_F": 0,
                "weighted_F_03": 0,
                "IoU": 1,
                "Dice": 1,
                "Acc": 1,
                "T_Jac": 1,
                "BER": 0,
            },
        ),
        (
            FULL,
            EMPTY,
            {
                "S_measure": 0,
                "E_measure": 0,
                "weighted_F": 0,
                "weighted_F_03": 0,
                "IoU": 0,
                "Dice": 0,
                "Acc": 0,
            }
            | {"T_Jac": 0, "BER": 100, "BER_image": 100},
        ),
        (
            EMPTY,
            FULL,
            {"S_measure": 0, "E_measure": N / (N - 1) / 256, "IoU": 0, "Dice": 0}
            | {"Acc": 0, "T_Jac": 0, "BER": 100, "BER_image": 100},
        ),
        (
            FULL,
            FULL,
            {"S_measure": 1, "E_measure": N / (N - 1), "weighted_F": 1, "IoU": 1, "Dice": 1}
            | {"Acc": 1, "T_Jac": 1, "BER": 0, "BER_image": 0},
        ),
    ],
    ids=["nothing there, nothing found", "false alarm", "all missed", "all found"],
)
def test_empty_and_full_masks(
    prediction: np.ndarray, target: np.ndarray, expected: dict[str, float]
) -> None:
    found = evaluate([(prediction.astype(float), target)])
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    assert all(math.isfinite(value) for value in found.values())


@pytest.mark.parametrize("row", [0, 4, 7])
@pytest.mark.parametrize("column", [0, 4, 8])
def test_one_pixel(row: int, column: int) -> None:
    target = EMPTY.copy()
    target[row, column] = 1
    right = evaluate([(target.astype(float), target)])
    assert right["IoU"] == right["Dice"] == right["Acc"] == 1
    assert right["BER"] == 0
    assert right["S_measure"] == pytest.approx(1, abs=1e-9)
    assert right["weighted_F"] == pytest.approx(1, abs=1e-9)
    blank = evaluate([(EMPTY.astype(float), target)])
    assert blank["BER"] == 50
    assert blank["IoU"] == 0
    if (row, column) == (4, 4):  # nearer to the border, weighted F forgives misses
        assert blank["weighted_F"] == 0
    assert all(math.isfinite(value) for value in [*right.values(), *blank.values()])


MASKS = hnp.arrays(np.uint8, (6, 7), elements=st.integers(0, 1))
PROBABILITIES = hnp.arrays(np.float64, (6, 7), elements=st.floats(0, 1))
PAIRS = st.tuples(PROBABILITIES, MASKS)
LAWS = settings(max_examples=40, deadline=None)


@LAWS
@given(PAIRS)
def test_bounds(pair: tuple[np.ndarray, np.ndarray]) -> None:
    tops = {name: 100.0 if name in PERCENT else 1.0 for name in BINARY_METRICS}
    tops |= dict.fromkeys(("E_measure", "E_measure_max", "E_measure_adaptive"), 42 / 41)
    for name, value in evaluate([pair]).items():
        assert -1e-12 <= value <= tops[name] + 1e-12, name


@LAWS
@given(MASKS)
def test_perfect_prediction(target: np.ndarray) -> None:
    found = evaluate([(target.astype(float), target)])
    assert found["IoU"] == found["Dice"] == found["Acc"] == found["T_Jac"] == 1
    assert found["BER"] == found["BER_image"] == 0
    assert found["S_measure"] == pytest.approx(1, abs=1e-9)
    assert found["E_measure_max"] == pytest.approx(42 / 41, abs=1e-9)
    assert found["weighted_F"] == pytest.approx(float(target.any()), abs=1e-9)


@LAWS
@given(PAIRS)
def test_overlap_is_symmetric(pair: tuple[np.ndarray, np.ndarray]) -> None:
    prediction, target = (pair[0] > 0.5).astype(np.uint8), pair[1]
    there = evaluate([(prediction.astype(float), target)], "IoU", "Dice", "Acc")
    back = evaluate([(target.astype(float), prediction)], "IoU", "Dice", "Acc")
    assert there == back


@settings(max_examples=15, deadline=None)
@given(st.lists(PAIRS, min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_order_changes_no_bit(images, random) -> None:  # type: ignore[no-untyped-def]
    whole = evaluate(images)
    shuffled = list(images)
    random.shuffle(shuffled)
    assert evaluate(shuffled) == whole


def test_rows_are_the_images_own_values() -> None:
    images = random_set(5, seed=8)
    metrics = BinaryMetrics()
    rows = [metrics.update(*pair) for pair in images]
    for pair, row in zip(images, rows, strict=True):
        alone = evaluate([pair])
        assert {name: row[name] for name in alone if name != "BER"} == pytest.approx(
            {name: value for name, value in alone.items() if name != "BER"}, abs=1e-12
        )
    found = metrics.compute()
    for name in ("S_measure", "E_measure", "weighted_F", "IoU", "BER_image"):
        assert found[name] == pytest.approx(np.mean([row[name] for row in rows]), abs=1e-12)
    misses = sum(row["false_negatives"] for row in rows)
    hits = sum(row["true_positives"] for row in rows)
    alarms = sum(row["false_positives"] for row in rows)
    rejections = sum(row["true_negatives"] for row in rows)
    ber = 50 * (misses / (misses + hits) + alarms / (alarms + rejections))
    assert found["BER"] == pytest.approx(ber, abs=1e-12)


def test_only_what_is_asked_for() -> None:
    metrics = make_metrics(("polyp",), ("IoU", "S_measure"))
    row = metrics.update(*random_set(1)[0])
    assert list(row) == list(metrics.compute()) == ["IoU", "S_measure"]


def test_a_leading_axis_of_one_class_changes_nothing() -> None:
    images = random_set(2)
    assert evaluate([(probability[None], target) for probability, target in images]) == evaluate(
        images
    )
    with pytest.raises(ValueError, match="same size"):
        evaluate([(np.stack([probability] * 2), target) for probability, target in images])


def test_bad_input_is_refused() -> None:
    metrics = BinaryMetrics(["IoU"])
    good, target = np.full(SHAPE, 0.2), EMPTY
    for bad in (np.nan, np.inf):
        broken = good.copy()
        broken[1, 1] = bad
        with pytest.raises(DivergedError, match="not finite"):
            metrics.update(broken, target)
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        metrics.update(good * 10, target)
    with pytest.raises(ValueError, match="same size"):
        metrics.update(good[:-1], target)
    with pytest.raises(ValueError, match="0 and 1"):
        metrics.update(good, FULL * np.uint8(254))
    with pytest.raises(ValueError, match="two pixels"):
        metrics.update(good[:1, :1], target[:1, :1])
    with pytest.raises(ValueError, match="no image"):
        metrics.compute()
    with pytest.raises(ValueError, match="unknown metrics"):
        BinaryMetrics(["iou"])
