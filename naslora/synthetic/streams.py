"""Random streams of images, the same for every number of images, and their division into parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np


def streams(seed: int, count: int, *part: int) -> Iterator[np.random.Generator]:
    """One independent random stream per image, so that image i is the same for every count.

    Parts of a benchmark that differ in the number `part` have streams of their own.
    """
    for index in range(count):
        yield np.random.default_rng([seed, *part, index])


def apportion(count: int, sizes: Mapping[str, int]) -> dict[str, int]:
    """Share `count` images among parts in proportion to their sizes, one each before any has two.

    A larger count takes no image from any part (Adams's method); parts of size 0 get none.
    """
    shares = dict.fromkeys(sizes, 0)
    filled = [part for part, size in sizes.items() if size]
    for _ in range(count):
        most = max(filled, key=lambda p: (shares[p] == 0, sizes[p] / max(shares[p], 1)))
        shares[most] += 1
    return shares


def part_streams(
    seed: int, count: int, sizes: Mapping[str, int]
) -> Iterator[tuple[str, np.random.Generator]]:
    """Name of the part and random stream of each of `count` images, apportioned by `sizes`.

    Image i of a part is the same for every count.
    """
    for number, (part, share) in enumerate(apportion(count, sizes).items()):
        for rng in streams(seed, share, number):
            yield part, rng
