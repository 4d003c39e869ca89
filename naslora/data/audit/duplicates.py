"""Images that occur twice, byte for byte or nearly, within a split and across splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from naslora.data.audit.inspection import Inspected
from naslora.data.audit.perceptual import BITS, near_duplicates
from naslora.data.benchmarks.listing import Finding

_TRAINING = "train"


@dataclass(frozen=True)
class Duplicates:
    """Findings, and for each other split the number of its images with a duplicate in training."""

    findings: list[Finding]
    leaked: dict[str, int]


def find_duplicates(pairs: Sequence[Inspected], splits: Mapping[str, Sequence[str]]) -> Duplicates:
    """Compare all images that could be read; the most alike come first in each finding."""
    split_of = {id_: split for split, ids in splits.items() for id_ in ids}
    places = [split_of.get(pair.sample.id, "?") for pair in pairs]
    names = [f"{pair.sample.image} [{place}]" for pair, place in zip(pairs, places, strict=True)]
    items: dict[tuple[str, bool], list[str]] = defaultdict(list)
    leaked: dict[str, set[int]] = {split: set() for split in splits if split != _TRAINING}

    def note(kind: str, alike: Sequence[int], text: str) -> None:
        items[(kind, len({places[index] for index in alike}) > 1)].append(text)
        if any(places[index] == _TRAINING for index in alike):
            for index in alike:
                leaked.get(places[index], set()).add(index)

    for same in _identical(pairs):
        note("duplicate", same, " = ".join(names[index] for index in same))
    seen = [(i, pair.features) for i, pair in enumerate(pairs) if pair.features is not None]
    for likeness in near_duplicates([one for _, one in seen]):
        first, second = seen[likeness.first][0], seen[likeness.second][0]
        if pairs[first].image_sha256 != pairs[second].image_sha256:
            measured = f"{likeness.distance} of {BITS} bits, r = {likeness.correlation:.3f}"
            note(
                "near_duplicate", (first, second), f"{names[first]} ~ {names[second]} ({measured})"
            )
    findings = [
        Finding(f"{kind}_{'across' if across else 'within'}", "oddity", _TEXTS[kind, across], found)
        for (kind, across), found in sorted(items.items(), key=lambda item: not item[0][1])
    ]
    return Duplicates(findings, {split: len(found) for split, found in leaked.items()})


_TEXTS = {
    ("duplicate", True): "the same image in several splits (leakage)",
    ("duplicate", False): "the same image twice",
    ("near_duplicate", True): "nearly the same image in two splits (leakage)",
    ("near_duplicate", False): "nearly the same image twice",
}


def _identical(pairs: Sequence[Inspected]) -> list[list[int]]:
    by_hash = defaultdict(list)
    for index, pair in enumerate(pairs):
        if pair.width:
            by_hash[pair.image_sha256].append(index)
    return [same for same in by_hash.values() if len(same) > 1]
