"""Whether a method has learnt anything: one paired test, and one sentence for each outcome."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from naslora.results.comparison import Comparison, bootstrap
from naslora.results.set_metrics import set_metric
from naslora.results.verdict import judge

IMAGES = 40
rng = np.random.default_rng(3)
HARD = rng.uniform(0.1, 0.9, IMAGES)  # how hard each image is, for every prediction


def compared(
    lead: float, noise: float, *, metric: str = "IoU", control: str = "control_mean_mask"
) -> tuple[Comparison, np.ndarray]:
    """A method that is better than a control by `lead` on average; and their differences."""
    values = {
        "lora": HARD + lead + rng.normal(0, noise, IMAGES),
        control: HARD,
        "control_blank": np.zeros(IMAGES) if metric == "IoU" else np.full(IMAGES, 50.0),
    }
    sets = {}
    for name, column in values.items():
        found = set_metric(metric, pd.DataFrame({metric: column}))
        assert found is not None
        sets[name] = [found]
    scale = 100 if metric == "IoU" else 1
    scores = pd.DataFrame({name: [scale * column.mean()] for name, column in values.items()})
    replicates = scale * bootstrap(sets)
    made = Comparison("kvasir", "test", metric, scores, replicates, IMAGES, ("lora",))
    return made, scale * (values["lora"] - values[control])


@pytest.mark.parametrize(
    ("lead", "noise", "sign", "says"),
    [
        (0.05, 0.05, 1, "better (95 % interval: {low:.1f} to {high:.1f}). Something was learnt."),
        (0.01, 0.2, 0, "there is no evidence that anything was learnt."),
        (-0.05, 0.05, -1, "worse (95 % interval: {low:.1f} to {high:.1f}). The model is worse"),
    ],
)
def test_the_same_images_are_compared(lead: float, noise: float, sign: int, says: str) -> None:
    comparison, differences = compared(lead, noise)
    found = judge(comparison, "lora")
    assert found is not None
    assert found.sign == sign
    assert found.gain == pytest.approx(differences.mean())
    half = 1.96 * differences.std() / np.sqrt(IMAGES)  # the paired z-interval
    assert found.interval is not None
    low, high = found.interval
    assert low == pytest.approx(differences.mean() - half, abs=0.15 * half)
    assert high == pytest.approx(differences.mean() + half, abs=0.15 * half)
    # Unpaired, the images' spread alone would hide every one of these differences.
    assert abs(differences.mean()) < 1.96 * 100 * HARD.std() * np.sqrt(2 / IMAGES)
    assert says.format(low=low, high=high) in found.sentence
    assert found.sentence.startswith(f"IoU {found.score:.1f} on 40 held-out images, against")
    assert f"{found.control_score:.1f} of the best prediction that does not" in found.sentence
    assert found.control == "Mean training mask"


def test_less_is_better_for_an_error() -> None:
    comparison, differences = compared(-0.05, 0.01, metric="BER_image")
    found = judge(comparison, "lora")
    assert found is not None
    assert found.control == "Mean training mask"
    assert found.gain == pytest.approx(-differences.mean())
    assert (found.sign, "better" in found.sentence) == (1, True)


def test_without_a_control_or_a_score_nothing_is_said() -> None:
    comparison, _ = compared(0.05, 0.05)
    assert judge(comparison, "dora") is None
    alone = pd.DataFrame({"lora": [60.0]})
    assert judge(Comparison("kvasir", "test", "IoU", alone, None, 40, ("lora",)), "lora") is None


def test_what_cannot_be_tested_is_not_claimed() -> None:
    """One seed, and a metric that cannot be resampled: there is no interval."""
    scores = pd.DataFrame({"lora": [60.0], "control_blank": [0.0]})
    found = judge(Comparison("kvasir", "test", "E_measure_max", scores, None, 40, ()), "lora")
    assert found is not None
    assert (found.sign, found.interval) == (0, None)
    assert "60.0 better. The difference is not significant" in found.sentence
