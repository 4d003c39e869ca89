"""Titles of metrics in tables, figures and the report, and the units in which they are shown.

This module imports nothing from the package, so that every module can use it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class MetricName:
    """The title, unit and digits of a metric in tables.

    Attributes:
        title: its name wherever it is shown.
        scale: factor from the unit in records to the one shown.
        higher_is_better: whether higher values are better.
        decimals: digits after the decimal point in tables.
        unit: of the shown value; empty where it has none.
    """

    title: str
    scale: float = 100.0
    higher_is_better: bool = True
    decimals: int = 1
    unit: str = "%"

    @property
    def sign(self) -> int:
        """1 if higher values are better, else -1."""
        return 1 if self.higher_is_better else -1


_ERROR = MetricName("", scale=1.0, higher_is_better=False, decimals=2)
_NAMES = {
    "S_measure": MetricName("S"),
    "E_measure": MetricName("E (mean)"),
    "E_measure_max": MetricName("E (maximum)"),
    "E_measure_adaptive": MetricName("E (adaptive)"),
    "weighted_F": MetricName("Fw (β²=1)"),
    "weighted_F_03": MetricName("Fw (β²=0.3)"),
    "IoU": MetricName("IoU"),
    "Dice": MetricName("Dice"),
    "Acc": MetricName("Acc"),
    "T_Jac": MetricName("T-Jac"),
    "BER": replace(_ERROR, title="BER (set)"),
    "BER_image": replace(_ERROR, title="BER (image mean)"),
    "Acc_foreground": MetricName("Acc (foreground)", decimals=2),
    "mIoU": MetricName("mIoU (all classes)", decimals=2),
    "mIoU_foreground": MetricName("mIoU (foreground)", decimals=2),
    # In class numbers, not percent.
    "MAE": replace(_ERROR, title="MAE", decimals=3, unit=""),
    "mBER": replace(_ERROR, title="mBER"),
}
_CLASS = "IoU_"


def metric_name(metric: str) -> MetricName:
    """The title, unit and digits of a record's metric.

    Raises:
        KeyError: there is no such metric.
    """
    if metric.startswith(_CLASS):
        return MetricName(f"IoU of {metric.removeprefix(_CLASS)}", decimals=2)
    return _NAMES[metric]


def main_metric(metrics: tuple[str, ...]) -> str:
    """The metric that represents a benchmark where one number is needed, as in a ranking.

    The mean IoU of the foreground classes, where there are several; else the benchmark's first.

    Args:
        metrics: the benchmark's, in its order.
    """
    return "mIoU_foreground" if "mIoU_foreground" in metrics else metrics[0]


def image_metric(metrics: tuple[str, ...]) -> str:
    """The main metric of a single image.

    The balanced error rate of a set is not a mean over images; each image's own rate replaces it.

    Args:
        metrics: the benchmark's, in its order.
    """
    main = main_metric(metrics)
    return f"{main}_image" if f"{main}_image" in metrics else main
