"""Seeded splits that are the same on every machine, Python version and file system."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence

from naslora.data.benchmarks.listing import Sample


def shuffled(ids: Iterable[str], seed: int) -> list[str]:
    """Order ids by SHA-256 of `"<seed>:<id>"`.

    The order depends on the set of ids and the seed alone, not on the order of `ids`, on a random
    number generator or on the platform. Adding an id moves no other id relative to the rest.

    Raises:
        ValueError: an id occurs twice.
    """
    ids = list(ids)
    if len(set(ids)) != len(ids):
        raise ValueError("ids must be distinct")
    return sorted(ids, key=lambda id_: (hashlib.sha256(f"{seed}:{id_}".encode()).digest(), id_))


def hold_out(ids: Iterable[str], share: float, seed: int) -> tuple[list[str], list[str]]:
    """Split ids into the rest and a held-out share, both sorted.

    The held-out part has `share * n` ids, rounded half up, but neither part is empty.

    Raises:
        ValueError: fewer than two ids, an id twice, or a share outside (0, 1).
    """
    if not 0 < share < 1:
        raise ValueError(f"share must lie between 0 and 1, got {share}")
    order = shuffled(ids, seed)
    if len(order) < 2:
        raise ValueError(f"cannot split {len(order)} ids in two")
    count = min(max(math.floor(share * len(order) + 0.5), 1), len(order) - 1)
    return sorted(order[count:]), sorted(order[:count])


def hold_out_groups(
    samples: Sequence[Sample], share: float, seed: int
) -> tuple[list[str], list[str]]:
    """Split ids like `hold_out`, but samples of one group stay together.

    Groups are held out in the order of `shuffled` until another one would not bring the held-out
    part closer to its share; neither part is empty. A sample without a group is its own group.

    Raises:
        ValueError: fewer than two groups, or a share outside (0, 1).
    """
    if not 0 < share < 1:
        raise ValueError(f"share must lie between 0 and 1, got {share}")
    members: dict[str, list[str]] = {}
    for sample in samples:
        members.setdefault(sample.group or sample.id, []).append(sample.id)
    order = shuffled(members, seed)
    if len(order) < 2:
        raise ValueError(f"cannot split {len(order)} groups in two")
    held: list[str] = []
    for count, group in enumerate(order):
        more = len(held) + len(members[group])
        nearer = abs(more - share * len(samples)) <= abs(len(held) - share * len(samples))
        if count == len(order) - 1 or (held and not nearer):
            break
        held += members[group]
    rest = {sample.id for sample in samples} - set(held)
    return sorted(rest), sorted(held)


def by_part(
    samples: Iterable[Sample], splits: Sequence[str], may_be_empty: Sequence[str] = ("val",)
) -> dict[str, list[str]]:
    """The official split: for each split the sorted ids of the samples of the part of its name.

    Raises:
        ValueError: a split has no samples, and is not one that may be empty.
    """
    found: dict[str, list[str]] = {split: [] for split in splits}
    for sample in samples:
        found[str(sample.part)].append(sample.id)
    if missing := [split for split, ids in found.items() if not (ids or split in may_be_empty)]:
        raise ValueError(f"no samples for {', '.join(missing)}")
    return {split: sorted(ids) for split, ids in found.items()}
