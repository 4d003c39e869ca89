"""The difference of two rows on one metric of one test set, with its intervals.

Two things may make one row of a table better than another by chance: the seeds it was trained with,
and the images it was tested on. The difference of two rows is significant where neither of its two
intervals contains zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

LEVEL = 0.05
_ROUNDING = 1e-9  # differences of decimal numbers are off in the last bits


@dataclass(frozen=True)
class Difference:
    """By how much one row is better than another, in the unit that tables show; > 0 is better.

    Attributes:
        mean: the mean over the seeds that both have.
        seeds: how many these are.
        images: how many test images.
        seeds_error: standard error over seeds; None with fewer than two.
        degrees: its degrees of freedom.
        images_error: standard error over images; None where the metric cannot be resampled.
    """

    mean: float
    seeds: int
    images: int
    seeds_error: float | None
    degrees: int
    images_error: float | None

    def over_seeds(self, level: float = LEVEL) -> tuple[float, float] | None:
        """The two-sided t-interval at 1 - level; None with fewer than two seeds."""
        if self.seeds_error is None:
            return None
        from scipy.stats import t

        half = float(t.ppf(1 - level / 2, self.degrees)) * self.seeds_error
        return self.mean - half, self.mean + half

    def over_images(self, level: float = LEVEL) -> tuple[float, float] | None:
        """The normal interval with the bootstrap's standard error; None without one."""
        if self.images_error is None:
            return None
        from scipy.stats import norm

        half = float(norm.ppf(1 - level / 2)) * self.images_error
        return self.mean - half, self.mean + half

    def significant_sign(self, comparisons: int = 1) -> int:
        """1 if significantly better, -1 if significantly worse, else 0.

        Both intervals, as far as they exist, must exclude zero.

        Args:
            comparisons: number of comparisons that share the level of 5 % (Bonferroni).
        """
        intervals = [self.over_seeds(LEVEL / comparisons), self.over_images(LEVEL / comparisons)]
        known = [one for one in intervals if one is not None]
        if not known:
            return 0
        if all(low > _ROUNDING for low, _ in known):
            return 1
        return -1 if all(high < -_ROUNDING for _, high in known) else 0

    def smallest(self, power: float = 0.8) -> float | None:
        """The smallest true difference that a two-sided t-test at 5 % detects with this power.

        The chance of a significant result with the wrong sign is ignored.

        Returns:
            In the unit of `mean`; None with fewer than two seeds, 0 where seeds never differ.
        """
        if self.seeds_error is None:
            return None
        from scipy.special import nctdtrinc
        from scipy.stats import t

        # The noncentrality at which t exceeds its critical value with the given power.
        critical = float(t.ppf(1 - LEVEL / 2, self.degrees))
        return self.seeds_error * float(nctdtrinc(self.degrees, 1 - power, critical))


def welch(first: tuple[float, int], second: tuple[float, int], seeds: int) -> tuple[float, int]:
    """Standard error and degrees of freedom of a difference of two means (Welch, 1947).

    The degrees of freedom, by Satterthwaite's equation, are rounded down.

    Args:
        first: variance of the first sample, and its degrees of freedom.
        second: the same of the second sample.
        seeds: number of values behind each mean.
    """
    variances = [first[0] / seeds, second[0] / seeds]
    total = sum(variances)
    if not total:
        return 0.0, first[1] + second[1]
    parts = (v**2 / one[1] for v, one in zip(variances, (first, second), strict=True))
    return math.sqrt(total), max(1, math.floor(total**2 / math.fsum(parts)))
