"""The audit: whether images and masks form a usable data set, and what is unusual about it.

Errors stop a preparation: incomplete pairs, sizes that differ, files that do not decode, values
that are not labels, repeated ids. Oddities are listed, and no image is dropped for them: empty and
full masks, images of one colour, equal and nearly equal images within and across splits, rotated
files, unused files, and counts that differ from Appendix B, which are an error in an official
archive.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from naslora.core.errors import AuditError
from naslora.core.processors import available_cores
from naslora.core.wording import first_of
from naslora.data.audit.duplicates import find_duplicates
from naslora.data.audit.inspection import Inspected, inspect
from naslora.data.audit.shared_sources import divided_sources
from naslora.data.benchmarks.contract import BENCHMARKS, Benchmark
from naslora.data.benchmarks.listing import Finding, Listing, Sample

# Where archives are from: official (as published), other (another file under the official name),
# unknown (nothing is published to compare with), generated (by this package), own (user-supplied
# images, without archives).
Source = Literal["official", "other", "unknown", "generated", "own"]
_NAMED = 10


@dataclass(frozen=True)
class Audit:
    """The audit of one task.

    Attributes:
        splits: maps each split to its ids; empty after errors.
        leaked: for each split other than training, the number of its images that are identical or
            nearly identical to a training image.
    """

    benchmark: Benchmark
    source: Source
    pairs: list[Inspected]
    splits: Mapping[str, Sequence[str]]
    findings: list[Finding]
    leaked: Mapping[str, int]

    @property
    def errors(self) -> list[Finding]:
        """The findings that stop the preparation."""
        return [finding for finding in self.findings if finding.severity == "error"]

    @property
    def oddities(self) -> list[Finding]:
        """The findings that do not stop it."""
        return [finding for finding in self.findings if finding.severity == "oddity"]

    def check(self, where: Path, full_report: Path) -> None:
        """Raise an error if there are errors.

        Args:
            where: the archive, or the folder of archives.
            full_report: the file that lists all items.

        Raises:
            AuditError: names every kind of error with its first ten items and the count.
        """
        if self.errors:
            kinds = "".join(f"\n    {describe(finding)}" for finding in self.errors)
            raise AuditError(
                f"the images and masks of {self.benchmark.title} are not a usable data set:{kinds}",
                where=where,
                remedy=f"{self._remedy()}; the full list is in {full_report.absolute()}",
            )

    def _remedy(self) -> str:
        if self.source == "own":
            return "repair these files, or take the pairs out"
        own = BENCHMARKS.file_sha256(self.benchmark.name) is not None
        kinds = {finding.kind for finding in self.errors}
        if own and kinds & {"layout", "no_pairs", "mask_values", "no_mask", "no_image"}:
            return (
                "correct `layout` or `masks` in the benchmark's file if these files are as they "
                "should be; else repair them and pack the archive again"
            )
        return "get the archive again, or repair these files and pack it again"


def describe(finding: Finding, named: int = _NAMED) -> str:
    """One line: what, how often, and the first `named` items."""
    if not finding.items:
        return finding.text
    return f"{finding.text} ({len(finding.items)}): {first_of(finding.items, named)}"


def audit(benchmark: Benchmark, root: Path, listing: Listing, seed: int, source: Source) -> Audit:
    """Read every pair once, split, and collect all findings.

    Args:
        benchmark: the benchmark.
        root: the folder that the listing's paths are relative to.
        listing: what `benchmark.samples(root)` returned.
        seed: the seed of the split.
        source: where the archives are from.
    """
    findings = [*listing.findings, *_bad_ids(listing.samples), *_shared(listing.samples)]
    with ThreadPoolExecutor(min(8, available_cores())) as pool:
        pairs = list(pool.map(partial(inspect, benchmark, root), listing.samples))
    pairs.sort(key=lambda pair: pair.sample.id)
    findings += [finding for pair in pairs for finding in pair.findings]
    findings += _all_alike(benchmark, pairs)
    splits: dict[str, list[str]] = {}
    if not any(finding.severity == "error" for finding in findings):
        try:
            splits = benchmark.split(listing.samples, seed)
        except ValueError as error:
            findings.append(Finding("split", "error", f"too few pairs: {error}"))
        else:
            findings += _empty_splits(benchmark, splits, source)
            findings += _counts(benchmark, splits, source)
            if source == "own":
                findings += divided_sources(pairs, splits)
    findings += _unused(root, listing)
    duplicates = find_duplicates(pairs, splits)
    findings = _merged(findings) + duplicates.findings
    return Audit(benchmark, source, pairs, splits, findings, duplicates.leaked)


def _bad_ids(samples: Sequence[Sample]) -> list[Finding]:
    if not samples:
        return [Finding("no_pairs", "error", "no pair of an image and a mask")]
    by_id = defaultdict(list)
    for sample in samples:
        by_id[sample.id].append(sample.image)
    twice = [f"{id_} ({', '.join(names)})" for id_, names in by_id.items() if len(names) > 1]
    return [Finding("duplicate_id", "error", "id of several pairs", twice)] if twice else []


def _shared(samples: Sequence[Sample]) -> list[Finding]:
    """Masks of several images, and images that are their own mask."""
    findings = []
    if both := [sample.image for sample in samples if sample.image == sample.mask]:
        findings.append(Finding("image_is_mask", "error", "image that is its own mask", both))
    by_mask = defaultdict(list)
    for sample in samples:
        by_mask[sample.mask].append(sample.image)
    shared = [f"{mask} ({', '.join(names)})" for mask, names in by_mask.items() if len(names) > 1]
    if shared:
        findings.append(Finding("shared_mask", "oddity", "mask of several images", shared))
    return findings


def _all_alike(benchmark: Benchmark, pairs: Sequence[Inspected]) -> list[Finding]:
    """An error if no mask has any foreground, or none any background: a wrong conversion."""
    shares = {pair.foreground for pair in pairs if pair.width}
    missing = {0.0: "foreground", 1.0: "background"}.get(shares.pop()) if len(shares) == 1 else None
    if missing is None or (missing == "background" and len(benchmark.classes) > 1):
        return []
    return [Finding("all_alike", "error", f"no mask of the set has any {missing}")]


def _empty_splits(
    benchmark: Benchmark, splits: Mapping[str, Sequence[str]], source: Source
) -> list[Finding]:
    """Splits without samples: reduced archives may lack a test set, but no other split."""
    tested = [name for name in benchmark.test_sets if splits[name]]
    empty = [name for name in ("train", *benchmark.test_sets) if not splits[name]]
    if not empty:
        return []
    if source in ("official", "generated") or "train" in empty or not tested:
        return [Finding("empty_split", "error", "split without images", empty)]
    return [Finding("empty_split", "oddity", "test set without images, not evaluated", empty)]


def _counts(
    benchmark: Benchmark, splits: Mapping[str, Sequence[str]], source: Source
) -> list[Finding]:
    if source in ("generated", "own"):
        return []
    found = {
        name: sum(len(splits[split]) for split in name.split("+")) for name in benchmark.expected
    }
    other = [
        f"{name} {found[name]} instead of {expected}"
        for name, expected in benchmark.expected.items()
        if found[name] != expected
    ]
    severity: Literal["error", "oddity"] = "error" if source == "official" else "oddity"
    whose = "the official ones" if benchmark.count_exception else "Appendix B's"
    text = f"counts other than {whose}"
    return [Finding("counts", severity, text, other)] if other else []


def _unused(root: Path, listing: Listing) -> list[Finding]:
    """Files that are in no pair, by the benchmark's reason for leaving them out."""
    used = {name for sample in listing.samples for name in (sample.image, sample.mask)}
    named = {item for finding in listing.findings for item in finding.items}
    by_reason = defaultdict(list)
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_file() and name not in used and name not in named:
            by_reason[listing.left_out.get(name, "not part of the benchmark")].append(name)
    by_reason.pop("", None)
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
