"""Listings of unpacked archives: pairs of an image and a mask, and problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal


@dataclass(frozen=True)
class Sample:
    """An image and its mask.

    Attributes:
        id: distinct within the benchmark; no path separators.
        image: POSIX path relative to the folder with the unpacked archives.
        mask: likewise.
        part: the official part ("train", "val", or the name of a test set), None without one.
        group: samples of one group stay in one split; None without a group.
    """

    id: str
    image: str
    mask: str
    part: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Finding:
    """A finding of the audit; `items` names the files or ids concerned."""

    kind: str
    severity: Literal["error", "oddity"]
    text: str
    items: Sequence[str] = ()


@dataclass(frozen=True)
class Listing:
    """The pairs and problems in a benchmark's unpacked archives.

    Attributes:
        samples: complete pairs, sorted by id.
        findings: layout errors and incomplete pairs.
        left_out: files that the benchmark's definition excludes, with the reason; an empty one for
            files that the audit need not mention.
    """

    samples: list[Sample]
    findings: list[Finding] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Pairs:
    """Where pairs lie in an archive, by two patterns whose `*` stands for the same name.

    `Pairs("coins/images/*.jpg", "coins/masks/*_mask.png")` pairs `coins/images/7.jpg` with
    `coins/masks/7_mask.png`.

    Attributes:
        image, mask: patterns `FOLDER/*ENDING.SUFFIX`; an image's has no ending.
        part: the official part of these pairs, None without one.
        archive: key of the archive that they are in; by default the benchmark's first.
    """

    image: str
    mask: str
    part: str | None = None
    archive: str | None = None

    def __post_init__(self) -> None:
        for pattern in (self.image, self.mask):
            if not PurePosixPath(pattern).name.startswith("*") or pattern.count("*") != 1:
                raise ValueError(f"{pattern!r} is not a pattern like 'images/*.jpg'")

    def find(self, root: Path, home: Path) -> Listing:
        """The pairs below `home`, a folder in `root`."""
        image, mask = PurePosixPath(self.image), PurePosixPath(self.mask)
        ending = mask.stem.removeprefix("*")
        return pair_files(
            root,
            home / image.parent,
            home / mask.parent,
            {image.suffix.lower()},
            self.part,
            ending,
            mask_suffixes={mask.suffix.lower()},
        )

    def names(self, stem: str) -> tuple[str, str]:
        """Paths of the image and the mask of one name."""
        return self.image.replace("*", stem), self.mask.replace("*", stem)


def pair_files(
    root: Path,
    images: Path,
    masks: Path,
    suffixes: Iterable[str],
    part: str | None = None,
    mask_ending: str = "",
    mask_suffixes: Iterable[str] | None = None,
) -> Listing:
    """Pair the files of two folders whose names agree up to the suffix.

    With a `mask_ending`, such as "_mask", the mask of `X.jpg` is `X_mask.png`. Masks have the same
    suffixes as images unless `mask_suffixes` is given. Files with other suffixes or endings are
    ignored; the audit lists them as unused.
    """
    findings = []
    found: list[dict[str, str]] = []
    for folder, ending, wanted in (
        (images, "", suffixes),
        (masks, mask_ending, mask_suffixes or suffixes),
    ):
        by_stem: dict[str, str] = {}
        twice = []
        if not folder.is_dir():
            findings.append(_no_folder(root, folder))
        for path in sorted(folder.glob("*")):
            if path.suffix.lower() not in wanted or not path.is_file():
                continue
            if not path.stem.endswith(ending):
                continue
            stem = path.stem.removesuffix(ending)
            if stem in by_stem:
                twice.append(path.relative_to(root).as_posix())
            by_stem[stem] = path.relative_to(root).as_posix()
        if twice:
            findings.append(Finding("duplicate_name", "error", "two files of one name", twice))
        found.append(by_stem)
    image_of, mask_of = found
    both = sorted(image_of.keys() & mask_of.keys())
    if images_alone := [image_of[s] for s in sorted(image_of.keys() - mask_of.keys())]:
        findings.append(Finding("no_mask", "error", "image without a mask", images_alone))
    if masks_alone := [mask_of[s] for s in sorted(mask_of.keys() - image_of.keys())]:
        findings.append(Finding("no_image", "error", "mask without an image", masks_alone))
    return Listing([Sample(s, image_of[s], mask_of[s], part) for s in both], findings)


def folder_with(root: Path, *patterns: str) -> Path:
    """The folder in which an archive's layout begins: some archives have one around everything.

    Returns:
        Of `root` and its subfolders, the first in which the most glob patterns match something;
        `root` if none matches anywhere.
    """
    candidates = [root, *sorted(path for path in root.glob("*") if path.is_dir())]
    return max(candidates, key=lambda folder: sum(any(folder.glob(p)) for p in patterns))


def joined(listings: Iterable[Listing]) -> Listing:
    """One listing of all samples, sorted by id, findings and left-out files."""
    listings = list(listings)
    return Listing(
        sorted((s for listing in listings for s in listing.samples), key=lambda s: s.id),
        [finding for listing in listings for finding in listing.findings],
        {name: why for listing in listings for name, why in listing.left_out.items()},
    )


def _no_folder(root: Path, folder: Path) -> Finding:
    parent = folder
    while parent != root and not parent.is_dir():
        parent = parent.parent
    here = sorted(path.name for path in parent.iterdir())[:10] if parent.is_dir() else []
    wanted = folder.relative_to(root).as_posix()
    inside = parent.relative_to(root).as_posix()
    return Finding("layout", "error", "folder not found", [f"{wanted} ({inside} holds {here})"])


def distinct_ids(samples: Iterable[Sample]) -> list[Sample]:
    """Samples with distinct ids: an id that several parts use gets the part as a prefix."""
    samples = list(samples)
    parts = Counter(id_ for id_, _ in {(s.id, s.part) for s in samples})
    return [replace(s, id=f"{s.part}_{s.id}") if parts[s.id] > 1 else s for s in samples]
