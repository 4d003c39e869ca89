"""The numbers of the tables, recomputed from the per-image files by independent code."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from naslora.data.benchmarks.contract import get_benchmark
from naslora.evaluation.metrics import make_metrics
from naslora.report.tables.filling import fill
from naslora.report.tables.model import TableSpec
from naslora.report.tables.table1 import TABLE as TABLE1
from naslora.report.tables.table2 import TABLE as TABLE2
from naslora.report.tables.table3 import TABLE as TABLE3
from naslora.report.tables.writers import csv_text
from naslora.results.aggregate import aggregate
from naslora.study.layout import Layout
from naslora.study.records import FileHash
from naslora.study.settings import Study

IMAGES, SHAPE = 6, (12, 9)
OF_COUNTS = ("IoU", "T_Jac", "Dice", "Acc", "BER", "BER_image")


def measured(task: str, seed: int) -> tuple[dict[str, dict[str, float]], pd.DataFrame]:
    """Metrics and per-image rows of guesses on drawn masks, by the code of the evaluation."""
    benchmark = get_benchmark(task)
    rng = np.random.default_rng(seed)
    count = len(benchmark.classes)
    names = [n for n in benchmark.metrics if count > 1 or n in OF_COUNTS]
    metrics: dict[str, dict[str, float]] = {}
    rows = []
    for test_set in benchmark.test_sets:
        measures: Any = make_metrics(benchmark.classes, names)
        for index in range(IMAGES):
            target = rng.integers(0, max(count, 2), SHAPE).astype(np.uint8)
            if index == 0:
                target[target == max(count, 2) - 1] = 0  # a class that one image lacks
            wrong = rng.random(SHAPE) < 0.3
            guess = np.where(wrong, rng.integers(0, max(count, 2), SHAPE), target)
            row = measures.update(guess.astype(np.uint8 if count > 1 else np.float32), target)
            rows.append({"test_set": test_set, "id": str(index), **row})
        metrics[test_set] = measures.compute()
    return metrics, pd.DataFrame(rows)


@pytest.fixture
def scored(
    make_study: Callable[..., Study], write_run: Callable[..., Path], tmp_path: Path
) -> Study:
    tasks = ["isic2017", "sbu", "leaf", "trans10k_v1", "trans10k_v2"]
    study = make_study(tmp_path, tasks=tasks, methods=["lora"], seeds=[0, 1])
    for task, seed in itertools.product(tasks, study.seeds):
        metrics, rows = measured(task, seed)
        path = write_run(study, "lora", seed, metrics, task=task, images=IMAGES)
        parquet = Layout.of(study).per_image(task, "lora", seed)
        rows.to_parquet(parquet, index=False)
        content = json.loads(path.read_text())
        content["per_image"] = FileHash.of(parquet).model_dump()
        content["metrics"] = metrics
        content["digest"] = None
        path.write_text(json.dumps(content))
    return study


def printed_means(study: Study, spec: TableSpec) -> dict[str, float]:
    text = csv_text(fill(spec, study, aggregate(study)))
    row = next(r for r in csv.DictReader(io.StringIO(text)) if r["method"] == "lora")
    return {
        name.removesuffix("_mean"): float(value)
        for name, value in row.items()
        if name.endswith("_mean")
    }


def over_seeds(study: Study, task: str, number: Callable[[pd.DataFrame], float]) -> float:
    files = [Layout.of(study).per_image(task, "lora", seed) for seed in study.seeds]
    return float(np.mean([number(pd.read_parquet(file)) for file in files]))


def test_binary_tasks(scored: Study) -> None:
    table = printed_means(scored, TABLE1)

    def ber(rows: pd.DataFrame) -> float:
        n = rows[[c for c in rows if c.endswith(("positives", "negatives"))]].sum()
        missed = n["false_negatives"] / (n["false_negatives"] + n["true_positives"])
        alarms = n["false_positives"] / (n["false_positives"] + n["true_negatives"])
        return 100 * (missed + alarms) / 2

    assert table["sbu_BER"] == pytest.approx(over_seeds(scored, "sbu", ber), abs=1e-9)
    for task, metrics in (("isic2017", {"Jac": "IoU", "Dice": "Dice"}), ("leaf", {"IoU": "IoU"})):
        for name, metric in metrics.items():
            mean = over_seeds(scored, task, lambda rows, m=metric: 100 * rows[m].mean())  # type: ignore[misc]
            assert table[f"{task}_{name}"] == pytest.approx(mean, abs=1e-9)


def counts(rows: pd.DataFrame, classes: tuple[str, ...], kind: str) -> np.ndarray:
    """Pixels (images, classes) of a kind."""
    return rows[[f"{kind}_{name}" for name in classes]].to_numpy()


@pytest.mark.parametrize("test_set", ["easy", "hard"])
def test_trans10k_v1(scored: Study, test_set: str) -> None:
    classes = get_benchmark("trans10k_v1").classes
    table = printed_means(scored, TABLE2)

    def of_set(number: Callable[..., float]) -> Callable[[pd.DataFrame], float]:
        def compute(rows: pd.DataFrame) -> float:
            rows = rows[rows["test_set"] == test_set]
            kinds = ("true_positives", "false_positives", "false_negatives")
            return number(*(counts(rows, classes, kind) for kind in kinds))

        return compute

    def accuracy(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> float:
        return float(100 * tp[:, 1:].sum() / (tp + fn)[:, 1:].sum())

    def miou(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> float:
        return float(100 * (tp.sum(0) / (tp + fp + fn).sum(0))[1:].mean())

    def mber(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> float:
        true, right, total = tp + fn, tp.sum(1), (tp + fn).sum(1)
        of_classes = []
        for k in range(1, len(classes)):
            has = true[:, k] > 0
            own = fn[has, k] / true[has, k]
            others = 1 - (right[has] - tp[has, k]) / (total[has] - true[has, k])
            of_classes.append((50 * (own + others)).mean())
        return float(np.mean(of_classes))

    for name, number in (("Acc", accuracy), ("mIoU", miou), ("mBER", mber)):
        expected = over_seeds(scored, "trans10k_v1", of_set(number))
        assert table[f"{test_set}_{name}"] == pytest.approx(expected, abs=1e-9), name
    mae = over_seeds(
        scored, "trans10k_v1", lambda rows: rows.groupby("test_set")["MAE"].mean()[test_set]
    )
    assert table[f"{test_set}_MAE"] == pytest.approx(mae, abs=1e-9)


def test_trans10k_v2(scored: Study) -> None:
    classes = get_benchmark("trans10k_v2").classes
    table = printed_means(scored, TABLE3)

    def iou(rows: pd.DataFrame) -> np.ndarray:
        kinds = ("true_positives", "false_positives", "false_negatives")
        tp, fp, fn = (counts(rows, classes, kind).sum(0) for kind in kinds)
        return 100 * tp / (tp + fp + fn)

    for index, column in enumerate(TABLE3.columns[:12]):
        expected = over_seeds(scored, "trans10k_v2", lambda rows, i=index: iou(rows)[i])  # type: ignore[misc]
        assert table[column.key] == pytest.approx(expected, abs=1e-9)
    mean = over_seeds(scored, "trans10k_v2", lambda rows: iou(rows).mean())
    foreground = over_seeds(scored, "trans10k_v2", lambda rows: iou(rows)[1:].mean())
    assert table["mIoU"] == pytest.approx(mean, abs=1e-9)
    assert table["mIoU_foreground"] == pytest.approx(foreground, abs=1e-9)
    right = over_seeds(
        scored,
        "trans10k_v2",
        lambda rows: (
            100 * counts(rows, classes, "true_positives").sum() / (IMAGES * SHAPE[0] * SHAPE[1])
        ),
    )
    assert table["Acc"] == pytest.approx(right, abs=1e-9)
