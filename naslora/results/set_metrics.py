"""Metrics of a test set from its per-image rows, to check records and to resample images.

Each row of a per-image file holds sums over its image, such as pixel counts. A metric of the set is
a function of their totals; that of a resampled set is the same function of weighted totals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_COUNTS = ("true_positives", "false_positives", "false_negatives")


@dataclass(frozen=True)
class SetMetric:
    """A metric of a set of images as a function of totals over its images.

    Attributes:
        sums: (images, sums): what is added up over images.
        of_totals: from totals (..., sums) to values (...); NaN where the metric is undefined.
    """

    sums: Floats
    of_totals: Callable[[Floats], Floats]

    def value(self) -> float:
        """The metric of the whole set."""
        return float(self.of_totals(self.sums.sum(axis=0)))

    def weighted(self, weights: Floats) -> Floats:
        """The metric of resampled sets.

        Args:
            weights: (resamples, images): how often each image is drawn.

        Returns:
            (resamples,).
        """
        return self.of_totals(weights @ self.sums)


def set_metric(metric: str, rows: pd.DataFrame) -> SetMetric | None:
    """A metric over the images of `rows`; None where rows do not determine it.

    Args:
        metric: a name of `naslora.evaluation.names`.
        rows: of one test set, as `naslora.evaluation.evaluate` writes them.
    """
    if metric == "E_measure_max":  # needs the mean curve, which rows do not have
        return None
    if metric == "BER":
        return _ber(rows)
    classes = _classes(rows)
    if classes and metric != "MAE":
        return _of_classes(metric, rows, classes)
    return _mean(rows[metric]) if metric in rows else None


def _mean(values: pd.Series[float]) -> SetMetric:
    """The mean over the images that have a value."""
    known = values.notna().to_numpy()
    sums = np.stack([values.fillna(0.0).to_numpy(float), known.astype(float)], axis=1)
    return SetMetric(sums, lambda totals: _ratio(totals[..., 0], totals[..., 1]))


def _ber(rows: pd.DataFrame) -> SetMetric | None:
    names = (*_COUNTS, "true_negatives")
    if not {*names} <= {*rows.columns}:
        return None

    def of_totals(totals: Floats) -> Floats:
        hits, false_alarms, misses, rejections = np.moveaxis(totals, -1, 0)
        rates = np.stack(
            [_ratio(misses, hits + misses), _ratio(false_alarms, rejections + false_alarms)]
        )
        return 100 * _mean_of_known(rates, axis=0)

    return SetMetric(rows[[*names]].to_numpy(float), of_totals)


def _classes(rows: pd.DataFrame) -> list[str]:
    """The classes whose pixels the rows count, background first; none for a binary task."""
    head = f"{_COUNTS[0]}_"
    return [name.removeprefix(head) for name in rows.columns if name.startswith(head)]


def _of_classes(metric: str, rows: pd.DataFrame, classes: list[str]) -> SetMetric | None:
    hits, extra, missed = (
        rows[[f"{kind}_{name}" for name in classes]].to_numpy(float) for kind in _COUNTS
    )
    if metric == "mBER":
        return _mber(hits, missed)
    name = metric.removeprefix("IoU_")
    if metric not in _FROM_COUNTS and name not in classes:
        return None

    def of_totals(totals: Floats) -> Floats:
        counts = np.split(totals, 3, axis=-1)
        if metric in _FROM_COUNTS:
            return _FROM_COUNTS[metric](*counts)
        return _iou(*counts)[..., classes.index(name)]

    return SetMetric(np.concatenate([hits, extra, missed], axis=1), of_totals)


def _mber(hits: Floats, missed: Floats) -> SetMetric:
    """Balanced error per image and foreground class in it; mean over images, then over classes."""
    true = hits + missed
    others_right = hits.sum(1, keepdims=True) - hits
    others = true.sum(1, keepdims=True) - true
    rates = np.stack([_ratio(missed, true), _ratio(others - others_right, others)])
    present = true[:, 1:] > 0
    errors = np.where(present, 100 * _mean_of_known(rates, axis=0)[:, 1:], 0.0)
    number = present.shape[1]
    return SetMetric(
        np.concatenate([errors, present.astype(float)], axis=1),
        lambda totals: _mean_of_known(_ratio(totals[..., :number], totals[..., number:]), axis=-1),
    )


def _iou(hits: Floats, extra: Floats, missed: Floats) -> Floats:
    return _ratio(hits, hits + extra + missed)


def _accuracy(hits: Floats, missed: Floats) -> Floats:
    return _ratio(hits.sum(-1), (hits + missed).sum(-1))


def _ratio(above: Floats, below: Floats) -> Floats:
    """A quotient; NaN where the divisor is 0."""
    found: Floats = np.full(np.broadcast(above, below).shape, np.nan)
    np.divide(above, below, out=found, where=np.asarray(below) > 0)
    return found


def _mean_of_known(values: Floats, axis: int) -> Floats:
    """The mean of the values that are not NaN; NaN where there is none."""
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0.0).sum(axis), known.sum(axis).astype(float))


# From the pixel counts (..., classes) of a set, background first.
_FROM_COUNTS: dict[str, Callable[[Floats, Floats, Floats], Floats]] = {
    "Acc": lambda hits, extra, missed: _accuracy(hits, missed),
    "Acc_foreground": lambda hits, extra, missed: _accuracy(hits[..., 1:], missed[..., 1:]),
    "mIoU": lambda *counts: _mean_of_known(_iou(*counts), axis=-1),
    "mIoU_foreground": lambda *counts: _mean_of_known(_iou(*counts)[..., 1:], axis=-1),
}
