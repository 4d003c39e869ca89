from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from naslora.evaluation.metrics import MultiClassMetrics, make_metrics, multiclass_metrics

CLASSES = ("background", "things", "stuff")
KINDS = ("background", *(f"kind {number}" for number in range(1, 12)))
LABELS = hnp.arrays(np.uint8, (5, 6), elements=st.integers(0, 2))


def evaluate(pairs: list[tuple[np.ndarray, np.ndarray]], *names: str) -> dict[str, float]:
    metrics = MultiClassMetrics(CLASSES, names or None)
    for predicted, target in pairs:
        metrics.update(predicted, target)
    return metrics.compute()


def random_set(count: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    pairs = []
    for index in range(count):
        size = tuple(rng.integers(4, 9, size=2))
        target = rng.integers(0, 3 if index % 3 else 2, size=size, dtype=np.uint8)
        noise = rng.integers(0, 3, size=size, dtype=np.uint8)
        pairs.append((np.where(rng.random(size) < 0.7, target, noise), target))
    return pairs


def test_equal_naive_loops() -> None:
    pairs = random_set(7)
    right = total = right_fg = total_fg = 0
    inter, union = [0, 0, 0], [0, 0, 0]
    maes: list[float] = []
    errors: dict[int, list[float]] = {1: [], 2: []}
    for predicted, target in pairs:
        distance = 0
        hits, truths = [0, 0, 0], [0, 0, 0]
        for p, t in zip(predicted.ravel().tolist(), target.ravel().tolist(), strict=True):
            total, right = total + 1, right + (p == t)
            total_fg, right_fg = total_fg + (t > 0), right_fg + (p == t and t > 0)
            distance += abs(p - t)
            truths[t] += 1
            hits[t] += p == t
            for c in range(3):
                inter[c] += p == t == c
                union[c] += c in (p, t)
        maes.append(distance / target.size)
        for c in (1, 2):
            if truths[c]:
                others = target.size - truths[c]
                recall, specificity = hits[c] / truths[c], (sum(hits) - hits[c]) / others
                errors[c].append(100 * (1 - 0.5 * (recall + specificity)))
    iou = [i / u for i, u in zip(inter, union, strict=True)]
    expected = {
        "Acc": right / total,
        "Acc_foreground": right_fg / total_fg,
        "mIoU": sum(iou) / 3,
        "mIoU_foreground": sum(iou[1:]) / 2,
        "MAE": sum(maes) / len(maes),
        "mBER": sum(sum(e) / len(e) for e in errors.values()) / 2,
        **{f"IoU_{name}": value for name, value in zip(CLASSES, iou, strict=True)},
    }
    assert len(errors[1]) != len(errors[2])
    assert evaluate(pairs) == pytest.approx(expected, abs=1e-12)
    assert list(evaluate(pairs)) == list(multiclass_metrics(CLASSES))


def test_equal_scikit_learn() -> None:
    from sklearn.metrics import accuracy_score, jaccard_score

    pairs = random_set(6, seed=2)
    predicted = np.concatenate([p.ravel() for p, _ in pairs])
    target = np.concatenate([t.ravel() for _, t in pairs])
    found = evaluate(pairs, "mIoU", "Acc")
    assert found["mIoU"] == pytest.approx(jaccard_score(target, predicted, average="macro"))
    assert found["Acc"] == pytest.approx(accuracy_score(target, predicted))


def test_twelve_classes_equal_scikit_learns_confusion_matrix() -> None:
    """Three of them are neither true nor predicted, one is true and never found."""
    from sklearn.metrics import confusion_matrix

    rng = np.random.default_rng(5)
    there = np.array([0, 1, 2, 4, 5, 7, 8, 10, 11])
    targets = [rng.choice(there, (9, 7 + i)).astype(np.uint8) for i in range(4)]
    predictions = [
        np.where((rng.random(t.shape) < 0.6) & (t != 8), t, 0).astype(np.uint8) for t in targets
    ]
    metrics = MultiClassMetrics(KINDS)
    for predicted, target in zip(predictions, targets, strict=True):
        metrics.update(predicted, target)
    found = metrics.compute()
    matrix = confusion_matrix(
        np.concatenate([t.ravel() for t in targets]),
        np.concatenate([p.ravel() for p in predictions]),
        labels=range(12),
    )
    union = matrix.sum(0) + matrix.sum(1) - matrix.diagonal()
    iou = {KINDS[i]: matrix[i, i] / union[i] for i in range(12) if union[i]}
    assert {n[4:]: v for n, v in found.items() if n.startswith("IoU_")} == pytest.approx(iou)
    assert set(KINDS) - set(iou) == {KINDS[i] for i in (3, 6, 9)}
    assert iou[KINDS[8]] == 0
    assert found["mIoU"] == pytest.approx(sum(iou.values()) / 9)
    assert found["mIoU_foreground"] == pytest.approx((sum(iou.values()) - iou["background"]) / 8)
    assert found["Acc"] == pytest.approx(matrix.trace() / matrix.sum())


def test_rows_are_what_the_image_alone_would_give() -> None:
    metrics = MultiClassMetrics(CLASSES)
    pairs = random_set(6, seed=3)
    rows = [metrics.update(predicted, target) for predicted, target in pairs]
    names = multiclass_metrics(CLASSES)
    for row, pair in zip(rows, pairs, strict=True):
        assert {name: row[name] for name in names if name in row} == evaluate([pair])
    # The counts of all rows give the set's IoU.
    for name in CLASSES:
        right, wrong, missed = (
            sum(row[f"{kind}_{name}"] for row in rows)
            for kind in ("true_positives", "false_positives", "false_negatives")
        )
        iou = right / (right + wrong + missed)
        assert metrics.compute()[f"IoU_{name}"] == pytest.approx(iou, abs=1e-12)


def test_background_for_stuff_costs_two() -> None:
    target = np.full((2, 2), 2, dtype=np.uint8)
    assert evaluate([(np.zeros((2, 2), dtype=int), target)], "MAE") == {"MAE": 2.0}


def test_other_class_of_foreground_is_an_error_in_mber() -> None:
    target = np.array([[1, 1, 2, 0]], dtype=np.uint8)
    predicted = np.array([[1, 1, 0, 0]])
    # things: 0 % of 2 wrong, 1 of 2 others; stuff: 1 of 1 wrong, 0 of 3 others.
    assert evaluate([(predicted, target)], "mBER")["mBER"] == pytest.approx((25 + 50) / 2)


def test_absent_class_is_left_out() -> None:
    """It has no IoU, since 1 would count it as found and 0 as missed, and is in no mean."""
    target = np.array([[0, 1]], dtype=np.uint8)
    found = evaluate([(target, target)])
    assert set(multiclass_metrics(CLASSES)) - set(found) == {"IoU_stuff"}
    assert found["mIoU"] == found["mIoU_foreground"] == 1
    predicted = np.array([[0, 0]])
    found = evaluate([(predicted, target)])
    assert found["mIoU"] == pytest.approx((0.5 + 0) / 2)
    assert found["mIoU_foreground"] == 0


def test_without_foreground() -> None:
    target = np.zeros((3, 3), dtype=np.uint8)
    metrics = MultiClassMetrics(CLASSES, ["Acc", "Acc_foreground", "mBER"])
    row = metrics.update(target, target)
    assert row["Acc"] == 1.0
    assert not {"Acc_foreground", "mBER"} & row.keys()
    with pytest.raises(ValueError, match="undefined without foreground: Acc_foreground, mBER"):
        metrics.compute()


def test_a_class_that_fills_the_image() -> None:
    target = np.ones((3, 3), dtype=np.uint8)
    assert evaluate([(target, target)], "mBER") == {"mBER": 0.0}
    assert evaluate([(np.zeros_like(target), target)], "mBER") == {"mBER": 100.0}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(LABELS, LABELS), min_size=2, max_size=5), st.data())
def test_laws(pairs: list[tuple[np.ndarray, np.ndarray]], data: st.DataObject) -> None:
    names = ("Acc", "mIoU", "MAE", *(f"IoU_{name}" for name in CLASSES))
    whole = evaluate(pairs, *names)
    assert all(0 <= value <= (2 if name == "MAE" else 1) for name, value in whole.items())
    order = data.draw(st.permutations(pairs))
    assert evaluate(order, *names) == whole
    perfect = evaluate([(target, target) for _, target in pairs], *names)
    assert perfect == {name: 0.0 if name == "MAE" else 1.0 for name in perfect}
    assert {"Acc", "mIoU", "MAE"} <= set(perfect)


def test_bad_input_is_refused() -> None:
    metrics = make_metrics(CLASSES, ["Acc"])
    target = np.zeros((3, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="same size"):
        metrics.update(target[:2], target)
    with pytest.raises(ValueError, match="same size"):
        metrics.update(np.stack([target] * 3), np.stack([target] * 3))
    with pytest.raises(ValueError, match="class numbers 3 to 3, of 3 classes"):
        metrics.update(target, target + np.uint8(3))
    with pytest.raises(ValueError, match="class numbers -1 to -1"):
        metrics.update(target.astype(int) - 1, target)
    with pytest.raises(ValueError, match="whole numbers, not float32"):
        metrics.update(target.astype(np.float32), target)
    assert metrics.images == 0
    with pytest.raises(ValueError, match="unknown metrics"):
        make_metrics(CLASSES, ["Dice"])
