"""Means that do not depend on the order or the grouping of their values."""

from __future__ import annotations

from fractions import Fraction


class ExactMean:
    """Streaming mean of floats, rounded once, at the end.

    The sum is an exact fraction, whose size is bounded by the range of a float. So the mean of a
    set is the same number, to the last bit, in any order.
    """

    def __init__(self) -> None:
        self.count = 0
        self._sum = Fraction(0)

    def add(self, value: float) -> None:
        """Add one value.

        Raises:
            OverflowError: the value is infinite.
            ValueError: the value is NaN.
        """
        self._sum += Fraction(float(value))
        self.count += 1

    def value(self) -> float:
        """The mean.

        Raises:
            ValueError: no value was added.
        """
        if self.count == 0:
            raise ValueError("the mean of no values is undefined")
        return float(self._sum / self.count)


def balanced_error(hits: int, positives: int, rejections: int, negatives: int) -> float:
    """Balanced error rate in percent: the mean of the error rates on positives and on negatives.

    A side without pixels has no rate and is left out of the mean; at least one must have pixels.

    Args:
        hits: positive pixels that were predicted correctly.
        positives: positive pixels.
        rejections: negative pixels that were predicted correctly.
        negatives: negative pixels.
    """
    pairs = ((hits, positives), (rejections, negatives))
    rates = [Fraction(pixels - right, pixels) for right, pixels in pairs if pixels]
    return float(100 * sum(rates) / len(rates))
