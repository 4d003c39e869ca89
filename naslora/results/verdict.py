"""Whether a method has learnt anything: its main score against the best control."""

from __future__ import annotations

from dataclasses import dataclass

from naslora.results.comparison import Comparison
from naslora.study.records import CONTROLS


@dataclass(frozen=True)
class Verdict:
    """A method's score on a test set against the best prediction that does not use the image.

    Attributes:
        score: the mean over seeds, in the unit that tables show.
        control: title of the best control.
        control_score: its score.
        gain: by how much the score is better; below 0 it is worse.
        interval: of the gain, at 95 %, over seeds or over test images, whichever is wider; None
            where neither is known.
        sign: 1 if it is significantly better than the control, -1 if significantly worse, else 0:
            the test behind the daggers of tables.
        sentence: the same in words.
    """

    score: float
    control: str
    control_score: float
    gain: float
    interval: tuple[float, float] | None
    sign: int
    sentence: str


def judge(comparison: Comparison, method: str) -> Verdict | None:
    """Compare a method with the best control; None where one of them has no score.

    Args:
        comparison: the rows of a task on one metric of one test set.
        method: a row.
    """
    means, name = comparison.means, comparison.name
    controls = means.reindex([*CONTROLS]).dropna()
    if method not in means or controls.empty:
        return None
    best = str((name.sign * controls).idxmax())
    difference = comparison.difference(method, best)
    if difference is None:
        return None
    known = [one for one in (difference.over_seeds(), difference.over_images()) if one is not None]
    interval = max(known, key=lambda one: one[1] - one[0], default=None)
    sign = difference.significant_sign()
    score, control_score = float(means[method]), float(controls[best])
    gain, digits = difference.mean, name.decimals

    def points(value: float) -> str:
        return f"{value:.{digits}f}"

    range_ = f" (95 % interval: {points(interval[0])} to {points(interval[1])})" if interval else ""
    sentence = (
        f"{name.title} {points(score)} on {comparison.images} held-out images, against"
        f" {points(control_score)} of the best prediction that does not use the image"
        f" ({CONTROLS[best]}): {points(abs(gain))} {'better' if gain >= 0 else 'worse'}{range_}. "
    ) + _READING[sign]
    return Verdict(score, CONTROLS[best], control_score, gain, interval, sign, sentence)


_READING = {
    1: "Something was learnt.",
    0: "The difference is not significant: there is no evidence that anything was learnt.",
    -1: "The model is worse than a constant prediction.",
}
