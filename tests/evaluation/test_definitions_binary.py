"""S, E and weighted F against loops written from their papers, and the library on edge cases.

S-measure: Fan et al., ICCV 2017; E-measure: Fan et al., IJCAI 2018; weighted F: Margolin et al.,
CVPR 2014. In all, the prediction is stretched to [0, 1] first.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import py_sod_metrics
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from naslora.evaluation.binary import BinaryMetrics

Pair = tuple[np.ndarray, np.ndarray]
NAMES = (
    *("S_measure", "E_measure", "E_measure_max", "E_measure_adaptive"),
    *("weighted_F", "weighted_F_03"),
)


def stretched(prediction: np.ndarray) -> np.ndarray:
    low, high = prediction.min(), prediction.max()
    return (prediction - low) / (high - low) if high > low else prediction


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def s_object(values: list[float]) -> float:
    centre = mean(values)
    spread = 0.0
    if len(values) > 1:
        spread = math.sqrt(math.fsum((v - centre) ** 2 for v in values) / (len(values) - 1))
    return 2 * centre / (centre**2 + 1 + spread)


def s_part(x: list[float], y: list[float]) -> float:
    """The structural similarity of a quarter, without the constants of SSIM."""
    mx, my, n = mean(x), mean(y), max(len(x) - 1, 1)
    vx = math.fsum((v - mx) ** 2 for v in x) / n
    vy = math.fsum((v - my) ** 2 for v in y) / n
    both = math.fsum((a - mx) * (b - my) for a, b in zip(x, y, strict=True)) / n
    above, below = 4 * mx * my * both, (mx**2 + my**2) * (vx + vy)
    if above:
        return above / below
    return 1.0 if below == 0 else 0.0


def structure(prediction: np.ndarray, truth: np.ndarray) -> float:
    share = truth.mean()
    if share in (0, 1):
        return float(prediction.mean() if share else 1 - prediction.mean())
    inside = [float(p) for p, t in zip(prediction.ravel(), truth.ravel(), strict=True) if t]
    outside = [
        1 - float(p) for p, t in zip(prediction.ravel(), truth.ravel(), strict=True) if not t
    ]
    objects = share * s_object(inside) + (1 - share) * s_object(outside)
    rows, columns = np.nonzero(truth)
    # The centroid's row and column belong to the upper left quarter.
    bottom, right = round(rows.mean()) + 1, round(columns.mean()) + 1
    regions = 0.0
    for part in (
        (np.s_[:bottom, :right], np.s_[:bottom, right:]),
        (
            np.s_[bottom:, :right],
            np.s_[bottom:, right:],
        ),
    ):
        for quarter in part:
            x, y = prediction[quarter].ravel().tolist(), truth[quarter].ravel().tolist()
            if x:
                regions += len(x) / truth.size * s_part(x, y)
    return max(0.0, 0.5 * objects + 0.5 * regions)


def alignment(foreground: np.ndarray, truth: np.ndarray) -> float:
    """The E-measure of a binary map, pixel by pixel."""
    total, found = 0.0, foreground.mean()
    for p, t in zip(foreground.ravel().tolist(), truth.ravel().tolist(), strict=True):
        if not truth.any():
            total += not p
        elif truth.all():
            total += p
        else:
            a, b = p - found, t - truth.mean()
            aligned = 2 * a * b / (a * a + b * b)
            total += (1 + aligned) ** 2 / 4
    return total / (truth.size - 1)


def alignments(prediction: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    levels = np.floor(prediction * 255)
    curve = [alignment(levels >= threshold, truth) for threshold in range(256)]
    adaptive = alignment(prediction >= min(2 * prediction.mean(), 1), truth)
    return mean(curve), max(curve), adaptive


def weighted_f(prediction: np.ndarray, truth: np.ndarray, beta_squared: float) -> float:
    if not truth.any():
        return 0.0
    height, width = truth.shape
    error = np.abs(prediction - truth)
    # Which of several nearest pixels counts is left open; the transform's choice is taken.
    nearest = ndimage.distance_transform_edt(
        truth == 0, return_distances=False, return_indices=True
    )
    moved = np.zeros(truth.shape)
    for y, x in np.ndindex(height, width):
        moved[y, x] = error[y, x] if truth[y, x] else error[tuple(nearest[:, y, x])]
    kernel = {
        (dy, dx): math.exp(-(dy * dy + dx * dx) / 50) for dy in range(-3, 4) for dx in range(-3, 4)
    }
    weight = math.fsum(kernel.values())
    inside, outside = [], []
    for y, x in np.ndindex(height, width):
        if truth[y, x]:
            smooth = math.fsum(
                share / weight * moved[y + dy, x + dx]
                for (dy, dx), share in kernel.items()
                if 0 <= y + dy < height and 0 <= x + dx < width
            )
            inside.append(min(error[y, x], smooth))
        else:
            rows, columns = np.nonzero(truth)
            distance = math.sqrt(((rows - y) ** 2 + (columns - x) ** 2).min())
            outside.append(error[y, x] * (2 - math.exp(math.log(0.5) / 5 * distance)))
    hits = len(inside) - math.fsum(inside)
    recall = 1 - mean(inside)
    found = hits + math.fsum(outside)
    precision = hits / found if found else 0.0
    if not recall + precision:
        return 0.0
    return (1 + beta_squared) * recall * precision / (recall + beta_squared * precision)


def by_definition(pair: Pair) -> dict[str, float]:
    prediction, truth = stretched(pair[0].astype(np.float64)), pair[1].astype(bool)
    e_mean, e_max, e_adaptive = alignments(prediction, truth)
    values = (structure(prediction, truth), e_mean, e_max, e_adaptive)
    weighted = (weighted_f(prediction, truth, beta_squared) for beta_squared in (1.0, 0.3))
    return dict(zip(NAMES, (*values, *weighted), strict=True))


def by_the_library(images: list[Pair]) -> dict[str, float]:
    measures = (
        py_sod_metrics.Smeasure(),
        py_sod_metrics.Emeasure(),
        py_sod_metrics.WeightedFmeasure(beta=1),
        py_sod_metrics.WeightedFmeasure(beta=0.3),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # its S of an empty quarter
        for prediction, truth in images:
            for measure in measures:
                measure.step(pred=prediction * 255.0, gt=truth * np.uint8(255))
    em = measures[1].get_results()["em"]
    found = (
        measures[0].get_results()["sm"],
        em["curve"].mean(),
        em["curve"].max(),
        em["adp"],
        measures[2].get_results()["wfm"],
        measures[3].get_results()["wfm"],
    )
    return dict(zip(NAMES, map(float, found), strict=True))


def ours(images: list[Pair]) -> dict[str, float]:
    metrics = BinaryMetrics(NAMES)
    for pair in images:
        metrics.update(*pair)
    return metrics.compute()


SHAPE = (7, 8)


def one_pixel(row: int, column: int) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[row, column] = 1
    return mask


def edge_cases() -> dict[str, Pair]:
    rng = np.random.default_rng(4)
    truths = {
        "empty": np.zeros(SHAPE, np.uint8),
        "full": np.ones(SHAPE, np.uint8),
        "all but one": 1 - one_pixel(4, 5),
        "half": np.repeat([[0], [1]], [3, 4], axis=0).repeat(8, axis=1).astype(np.uint8),
        "noise": (rng.random(SHAPE) > 0.5).astype(np.uint8),
    }
    corners = ((0, 0), (4, 5), (6, 0), (0, 7), (6, 7), (5, 6))
    truths |= {f"one pixel at {at}": one_pixel(*at) for at in corners}
    predictions = {
        "nothing": np.zeros(SHAPE),
        "everything": np.ones(SHAPE),
        # Of other constants, S depends on how a mean is rounded: 0.3 is not quite constant.
        "constant": np.full(SHAPE, 0.25),
        "one pixel": one_pixel(4, 5).astype(float),
        "noise": rng.random(SHAPE),
        "faint noise": 0.4 + 0.01 * rng.random(SHAPE),
    }
    return {
        f"{what} for {whole}": (prediction, truth)
        for whole, truth in truths.items()
        for what, prediction in predictions.items()
    }


EDGES = edge_cases()


@pytest.mark.parametrize("name", EDGES)
def test_edge_cases_by_definition(name: str) -> None:
    assert ours([EDGES[name]]) == pytest.approx(by_definition(EDGES[name]), abs=1e-9)


def test_edge_cases_by_the_library() -> None:
    compared = 0
    for pair in EDGES.values():
        found, expected = ours([pair]), by_the_library([pair])
        if math.isnan(expected["S_measure"]):  # the centroid is in the last row or column
            del found["S_measure"], expected["S_measure"]
            compared -= 1
        assert found == pytest.approx(expected, abs=1e-9)
        compared += 1
    assert compared >= len(EDGES) * 2 // 3
    whole = [pair for pair in EDGES.values() if not math.isnan(by_the_library([pair])["S_measure"])]
    assert ours(whole) == pytest.approx(by_the_library(whole), abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(
    hnp.arrays(np.int64, (6, 8), elements=st.integers(0, 256)),
    hnp.arrays(np.uint8, (6, 8), elements=st.integers(0, 1)),
)
def test_random_cases_by_definition(levels: np.ndarray, truth: np.ndarray) -> None:
    levels[0, 0], levels[-1, -1] = 0, 256  # so that stretching keeps means exact; see above
    pair = levels / 256, truth
    assert ours([pair]) == pytest.approx(by_definition(pair), abs=1e-9)


def balanced(images: list[Pair], by_image: bool) -> float:
    handler = py_sod_metrics.BERHandler(
        with_dynamic=False, with_adaptive=False, with_binary=True, sample_based=by_image
    )
    measure = py_sod_metrics.FmeasureV2(metric_handlers={"ber": handler})
    for prediction, truth in images:
        measure.step(pred=(prediction > 0.5) * 255.0, gt=truth * np.uint8(255))
    return 100 * float(measure.get_results()["ber"]["binary"])


def test_balanced_error_of_edge_cases() -> None:
    """As the library's, except for a class that an image lacks.

    The library counts an absent class as missed, so that an empty prediction for an empty mask
    costs 50 %. Here its rate is left out.
    """
    metrics = {by_image: BinaryMetrics(["BER_image" if by_image else "BER"]) for by_image in (1, 0)}
    for prediction, truth in EDGES.values():
        for one in metrics.values():
            one.update(prediction, truth)
        alone = BinaryMetrics(["BER", "BER_image"])
        alone.update(prediction, truth)
        found = alone.compute()
        library = balanced([(prediction, truth)], by_image=True)
        assert found["BER"] == found["BER_image"]
        if truth.all() or not truth.any():
            assert library == pytest.approx(50 + found["BER"] / 2, abs=1e-9)
        else:
            assert found["BER"] == pytest.approx(library, abs=1e-9)
    # Over the set, both classes are there, whatever single images lack.
    images = list(EDGES.values())
    assert metrics[0].compute()["BER"] == pytest.approx(balanced(images, False), abs=1e-9)
    with_both = [pair for pair in images if 0 < pair[1].mean() < 1]
    by_image = BinaryMetrics(["BER_image"])
    for pair in with_both:
        by_image.update(*pair)
    assert by_image.compute()["BER_image"] == pytest.approx(balanced(with_both, True), abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(
    hnp.arrays(np.float64, (6, 8), elements=st.floats(0, 1, width=16)),
    hnp.arrays(np.uint8, (6, 8), elements=st.integers(0, 1)),
    st.sampled_from([np.fliplr, np.transpose]),
)
def test_few_metrics_depend_on_positions(prediction, truth, turn) -> None:
    """All but S and weighted F, which look at quarters and neighbours, only count pixels."""
    names = ("E_measure", "E_measure_max", "E_measure_adaptive", "IoU", "Dice", "Acc", "BER")
    values = []
    for pair in ((prediction, truth), (turn(prediction), turn(truth))):
        metrics = BinaryMetrics(names)
        metrics.update(*pair)
        values.append(metrics.compute())
    assert values[0] == pytest.approx(values[1], abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(hnp.arrays(np.uint8, (6, 8), elements=st.integers(0, 1)), st.data())
def test_a_worse_prediction_never_scores_better(truth: np.ndarray, data) -> None:  # type: ignore[no-untyped-def]
    """One more wrong pixel lowers all metrics that are computed from pixel counts."""
    index = data.draw(st.tuples(st.integers(0, 5), st.integers(0, 7)))
    right, wrong = truth.astype(float), truth.astype(float)
    wrong[index] = 1 - wrong[index]
    names = ("IoU", "Dice", "Acc", "T_Jac")
    scores = []
    for prediction in (right, wrong):
        metrics = BinaryMetrics((*names, "BER"))
        metrics.update(prediction, truth)
        scores.append(metrics.compute())
    assert all(scores[1][name] <= scores[0][name] for name in names)
    assert scores[1]["Acc"] < scores[0]["Acc"]
    assert scores[1]["BER"] > scores[0]["BER"] == 0
