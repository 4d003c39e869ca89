"""The main metric of a benchmark, and that of one of its images."""

from __future__ import annotations

import pytest

from naslora.data.benchmarks.contract import get_benchmark
from naslora.evaluation.names import image_metric, main_metric


@pytest.mark.parametrize(
    ("task", "of_set", "of_image"),
    [
        ("kvasir", "S_measure", "S_measure"),
        ("sbu", "BER", "BER_image"),  # the error rate of a set is no mean over its images
        ("trans10k_v2", "mIoU_foreground", "mIoU_foreground"),
    ],
)
def test_main_metrics(task: str, of_set: str, of_image: str) -> None:
    metrics = get_benchmark(task).metrics
    assert (main_metric(metrics), image_metric(metrics)) == (of_set, of_image)
