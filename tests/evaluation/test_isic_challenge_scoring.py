"""The overlap metrics against the ISIC challenge's own scoring program.

`golden/isic_challenge_scoring.json` was made once by `SegmentationScore` of isic-challenge-scoring
5.6.0, from masks in its `truth` and `prediction`: bits, row by row. The program is no dependency of
the tests because it needs zipfile-deflate64, which no wheel brings for Python 3.11 to 3.13.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from naslora.evaluation.binary import BinaryMetrics

GOLDEN = json.loads((Path(__file__).parent / "golden" / "isic_challenge_scoring.json").read_text())
NAMES = {"IoU": "jaccard", "T_Jac": "threshold_jaccard", "Dice": "dice", "Acc": "accuracy"}


def masks(pair: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Prediction, as probabilities, and truth."""
    height, width = GOLDEN["shape"]
    prediction, truth = (
        np.unpackbits(np.frombuffer(bytes.fromhex(pair[key]), np.uint8))[: height * width]
        for key in ("prediction", "truth")
    )
    return prediction.reshape(height, width).astype(float), truth.reshape(height, width)


@pytest.mark.parametrize("pair", GOLDEN["pairs"], ids=lambda pair: pair["case"])
def test_one_image(pair: dict[str, Any]) -> None:
    row = BinaryMetrics(NAMES).update(*masks(pair))
    assert row == pytest.approx({name: pair[key] for name, key in NAMES.items()}, abs=1e-12)


def test_all_images() -> None:
    metrics = BinaryMetrics(NAMES)
    for pair in GOLDEN["pairs"]:
        metrics.update(*masks(pair))
    expected = {name: GOLDEN["all_pairs"][key] for name, key in NAMES.items()}
    assert metrics.compute() == pytest.approx(expected, abs=1e-12)
    assert 0 < expected["T_Jac"] < expected["IoU"]
