"""The audit: do images and masks form a usable data set, and what is odd about it?

Errors stop a preparation: half pairs, other sizes, files that do not decode, values that are no
labels, an id twice. Oddities are listed, and nothing is dropped over them: empty and full masks,
equal files within and across splits, rotated files, files that nothing uses, counts other than
Appendix B's. In an official archive, other counts are an error.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from PIL import Image

from naslora.data import images
from naslora.data.benchmark import Benchmark, Finding, Listing, Sample
from naslora.errors import AuditError

# Where archives are from: official (as published), other (another file under the official name),
# unknown (nothing is published to compare with), generated (by this package).
Source = Literal["official", "other", "unknown", "generated"]
_NAMED = 10


@dataclass(frozen=True)
class Inspected:
    """What reading one pair showed.

    Attributes:
        width, height: of the upright image, in pixels.
        foreground: share of pixels with a label above 0.
        grey: share of mask pixels that are not exactly one of the encoding's values.
    """

    sample: Sample
    image_sha256: str
    mask_sha256: str
    width: int
    height: int
    foreground: float
    grey: float
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Audit:
    """The audit of one task; `splits` maps each split to its ids and is empty after errors."""

    benchmark: Benchmark
    source: Source
    pairs: list[Inspected]
    splits: Mapping[str, Sequence[str]]
    findings: list[Finding]

    @property
    def errors(self) -> list[Finding]:
        """What stops the preparation."""
        return [finding for finding in self.findings if finding.severity == "error"]

    @property
    def oddities(self) -> list[Finding]:
        """What is worth knowing."""
        return [finding for finding in self.findings if finding.severity == "oddity"]

    def check(self, where: Path, full_report: Path) -> None:
        """Stop at errors.

        Args:
            where: the archive, or the folder of archives.
            full_report: the file that lists what this error has no room for.

        Raises:
            AuditError: names every kind of error with its first ten items and the count.
        """
        if self.errors:
            kinds = "".join(f"\n    {describe(finding)}" for finding in self.errors)
            raise AuditError(
                f"the images and masks of {self.benchmark.title} are no usable data set:{kinds}",
                where=where,
                remedy="get the archive again, or repair these files and pack it again; "
                f"the full list is in {full_report.absolute()}",
            )


def describe(finding: Finding, named: int = _NAMED) -> str:
    """One line: what, how often, and the first `named` items."""
    if not finding.items:
        return finding.text
    more = len(finding.items) - named
    tail = f" and {more} more" if more > 0 else ""
    return f"{finding.text} ({len(finding.items)}): {', '.join(finding.items[:named])}{tail}"


def audit(benchmark: Benchmark, root: Path, listing: Listing, seed: int, source: Source) -> Audit:
    """Read every pair once, split, and collect all findings.

    Args:
        benchmark: the benchmark.
        root: the folder that the listing's paths are relative to.
        listing: what `benchmark.samples(root)` returned.
        seed: the seed of the split.
        source: where the archives are from.
    """
    findings = [*listing.findings, *_bad_ids(listing.samples)]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        pairs = list(pool.map(partial(_inspect, benchmark, root), listing.samples))
    pairs.sort(key=lambda pair: pair.sample.id)
    findings += [finding for pair in pairs for finding in pair.findings]
    splits: dict[str, list[str]] = {}
    if not any(finding.severity == "error" for finding in findings):
        try:
            splits = benchmark.split(listing.samples, seed)
        except ValueError as error:
            findings.append(Finding("split", "error", f"too few pairs: {error}"))
        else:
            findings += _counts(benchmark, splits, source)
    findings += _duplicates(pairs, splits)
    findings += _unused(root, listing)
    return Audit(benchmark, source, pairs, splits, _merged(findings))


def _inspect(benchmark: Benchmark, root: Path, sample: Sample) -> Inspected:
    findings: list[Finding] = []
    digests = []
    upright: list[Image.Image] = []
    for name in (sample.image, sample.mask):
        data = b""
        try:
            data = (root / name).read_bytes()
            upright.append(images.decode(data))
            if images.is_rotated(data):
                findings.append(Finding("rotated", "oddity", "turned by its EXIF tag", [name]))
        except (OSError, images.UnreadableImageError) as error:
            findings.append(_error("unreadable", "unreadable file", f"{name} {error}"))
        digests.append(hashlib.sha256(data).hexdigest())
    if len(upright) < 2:
        return Inspected(sample, digests[0], digests[1], 0, 0, 0.0, 0.0, tuple(findings))
    image, mask = upright
    try:
        images.to_rgb(image)
    except images.UnreadableImageError as error:
        findings.append(_error("mode", "unusable colours", f"{sample.image} {error}"))
    if image.size != mask.size:
        both = " and ".join(
            f"{name} ({i.width}x{i.height})"
            for name, i in zip((sample.image, sample.mask), upright, strict=True)
        )
        findings.append(_error("size", "image and mask of unequal size", both))
    decoded = benchmark.decode_mask(mask)
    foreground = float((decoded.labels > 0).mean())
    if decoded.problem is not None:
        item = f"{sample.mask} ({decoded.problem})"
        findings.append(_error("mask_values", "mask values that are no labels", item))
    elif foreground in (0, 1):
        kind = "full" if foreground else "empty"
        findings.append(Finding(f"{kind}_mask", "oddity", f"{kind} mask", [sample.mask]))
    return Inspected(
        sample,
        digests[0],
        digests[1],
        image.width,
        image.height,
        foreground,
        decoded.grey,
        tuple(findings),
    )


def _error(kind: str, text: str, item: str) -> Finding:
    return Finding(kind, "error", text, [item])


def _bad_ids(samples: Sequence[Sample]) -> list[Finding]:
    if not samples:
        return [Finding("no_pairs", "error", "no pair of an image and a mask")]
    by_id = defaultdict(list)
    for sample in samples:
        by_id[sample.id].append(sample.image)
    twice = [f"{id_} ({', '.join(names)})" for id_, names in by_id.items() if len(names) > 1]
    return [Finding("duplicate_id", "error", "id of several pairs", twice)] if twice else []


def _counts(
    benchmark: Benchmark, splits: Mapping[str, Sequence[str]], source: Source
) -> list[Finding]:
    if source == "generated":
        return []
    other = [
        f"{split} {len(splits[split])} instead of {expected}"
        for split, expected in benchmark.expected.items()
        if len(splits[split]) != expected
    ]
    severity: Literal["error", "oddity"] = "error" if source == "official" else "oddity"
    text = "counts other than Appendix B's"
    return [Finding("counts", severity, text, other)] if other else []


def _duplicates(pairs: Sequence[Inspected], splits: Mapping[str, Sequence[str]]) -> list[Finding]:
    split_of = {id_: split for split, ids in splits.items() for id_ in ids}
    by_hash = defaultdict(list)
    for pair in pairs:
        if pair.width:
            by_hash[pair.image_sha256].append(pair.sample)
    within: list[str] = []
    across: list[str] = []
    for same in by_hash.values():
        if len(same) > 1:
            names = [f"{s.image} [{split_of.get(s.id, '?')}]" for s in same]
            places = {split_of.get(s.id) for s in same}
            (across if len(places) > 1 else within).append(" = ".join(names))
    found = []
    if across:
        text = "the same image in several splits (leakage)"
        found.append(Finding("duplicate_across", "oddity", text, across))
    if within:
        found.append(Finding("duplicate_within", "oddity", "the same image twice", within))
    return found


def _unused(root: Path, listing: Listing) -> list[Finding]:
    """Files that are in no pair, by the reason that the benchmark gives, if it gives one."""
    used = {name for sample in listing.samples for name in (sample.image, sample.mask)}
    named = {item for finding in listing.findings for item in finding.items}
    by_reason = defaultdict(list)
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_file() and name not in used and name not in named:
            by_reason[listing.left_out.get(name, "not part of the benchmark")].append(name)
    return [
        Finding("unused", "oddity", f"file left out: {reason}", names)
        for reason, names in sorted(by_reason.items())
    ]


def _merged(findings: Sequence[Finding]) -> list[Finding]:
    """One finding for each kind and text, errors first, items in order."""
    items: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for finding in findings:
        items[(finding.severity, finding.kind, finding.text)] += finding.items
    return [
        Finding(kind, "error" if severity == "error" else "oddity", text, tuple(sorted(all_)))
        for (severity, kind, text), all_ in sorted(items.items())
    ]
