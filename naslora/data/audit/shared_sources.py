"""Images that seem to share a source, such as tiles of one photograph; a guess, for a warning.

Near-duplicates are found by their content. Tiles of one photograph, or slices of one scan, are no
duplicates, but a split that divides them inflates scores as well. They are guessed from names that
differ only in a number at the end, if images named alike also look more alike than others.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from naslora.data.audit.inspection import Inspected
from naslora.data.benchmarks.listing import Finding

_NUMBERED = re.compile(
    r"(?P<source>.*?)[ _-]*(?:tile|patch|crop|part|frame|slice|img|image)?[ _-]*\d+(?:[ _x-]\d+)*",
    re.IGNORECASE,
)
# The median colour distance of images named alike must be below this share of that of others.
_CLOSER = 0.5
_LEAST_SHARE = 0.5  # of all images that must be in guessed groups
_PAIRS = 20_000  # random pairs whose distance is measured


def divided_sources(
    pairs: Sequence[Inspected], splits: Mapping[str, Sequence[str]]
) -> list[Finding]:
    """Guessed sources whose images lie in several splits; none where groups are given."""
    if any(pair.sample.group for pair in pairs):
        return []
    groups = defaultdict(list)
    for index, pair in enumerate(pairs):
        match = _NUMBERED.fullmatch(pair.sample.id)
        if match and match["source"] and pair.features is not None:
            groups[match["source"]].append(index)
    several = {name: found for name, found in groups.items() if len(found) > 1}
    named = sum(map(len, several.values()))
    if len(several) < 2 or named < _LEAST_SHARE * len(pairs) or not _look_alike(pairs, several):
        return []
    split_of = {id_: split for split, ids in splits.items() for id_ in ids}
    divided = [
        f"{name} ({', '.join(sorted({split_of[pairs[i].sample.id] for i in found}))})"
        for name, found in sorted(several.items())
        if len({split_of[pairs[i].sample.id] for i in found}) > 1
    ]
    if not divided:
        return []
    text = (
        "images in several splits that are named alike and look alike, as tiles of one photograph "
        "do (leakage); list the pairs in a CSV file with the column group to keep them together"
    )
    return [Finding("divided_source", "oddity", text, divided)]


def _look_alike(pairs: Sequence[Inspected], groups: Mapping[str, Sequence[int]]) -> bool:
    """Whether images named alike are closer to each other in colour than to others."""
    member = {index: name for name, found in groups.items() for index in found}
    indices = np.array(sorted(member))
    colours = np.stack([_colours(pairs[index]) for index in indices])
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, len(indices), (2, _PAIRS))
    within = [(a, b) for found in groups.values() for a, b in pairwise(found)]
    place = {index: position for position, index in enumerate(indices.tolist())}
    inside = np.array([[place[a], place[b]] for a, b in within]).T
    names = np.array([member[index] for index in indices.tolist()])
    apart = names[first] != names[second]
    if not apart.any():
        return False
    return _distance(colours, *inside) < _CLOSER * _distance(colours, first[apart], second[apart])


def _distance(
    colours: NDArray[np.float32], first: NDArray[np.int64], second: NDArray[np.int64]
) -> float:
    return float(np.median(np.linalg.norm(colours[first] - colours[second], axis=1)))


def _colours(pair: Inspected) -> NDArray[np.float32]:
    assert pair.features is not None
    return pair.features.colours
