"""What a benchmark is, and the registry of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from naslora.core.registry import Registry
from naslora.data import images
from naslora.data.masks import DecodedMask, Labels, MaskEncoding


@dataclass(frozen=True)
class Sample:
    """An image and its mask.

    Attributes:
        id: distinct within the benchmark; no path separators.
        image: POSIX path relative to the folder with the unpacked archives.
        mask: likewise.
        part: the official part ("train", "val", or the name of a test set), None without one.
    """

    id: str
    image: str
    mask: str
    part: str | None = None


@dataclass(frozen=True)
class Finding:
    """Something that the audit has to tell; `items` names the files or ids concerned."""

    kind: str
    severity: Literal["error", "oddity"]
    text: str
    items: Sequence[str] = ()


@dataclass(frozen=True)
class Listing:
    """What a benchmark found in its unpacked archives.

    Attributes:
        samples: complete pairs, sorted by id.
        findings: layout errors and half pairs.
        left_out: files that the benchmark's definition excludes, with the reason.
    """

    samples: list[Sample]
    findings: list[Finding] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CountException:
    """Why Appendix B prints other counts than the archives of a benchmark hold.

    Attributes:
        printed: Appendix B's number of samples of each split.
        reason: what is known about the difference; a clause without a full stop.
    """

    printed: Mapping[str, int]
    reason: str


class Benchmark(ABC):
    """A data set with its archives, layout, mask encoding, classes, split and generator.

    Attributes:
        name: the task's name in settings and file names.
        title: the name in tables.
        archives: keys of config/archives.yaml; each is unpacked to `root/<key>`.
        classes: for a binary task its one foreground class; else all, background first.
        test_sets: names of the sets that are evaluated apart from each other.
        metrics: names of the metrics that tables show, in their order.
        masks: how mask files encode labels.
        expected: number of samples of each split of the whole benchmark (Appendix B); splits
            that are counted together are joined by a plus: "easy+hard".
        count_exception: set where Appendix B's counts are not the `expected` ones.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    archives: ClassVar[tuple[str, ...]]
    classes: ClassVar[tuple[str, ...]]
    test_sets: ClassVar[tuple[str, ...]] = ("test",)
    metrics: ClassVar[tuple[str, ...]]
    masks: ClassVar[MaskEncoding]
    expected: ClassVar[Mapping[str, int]]
    count_exception: ClassVar[CountException | None] = None

    @abstractmethod
    def samples(self, root: Path) -> Listing:
        """List the pairs under the folder of unpacked archives; reports problems, never raises."""

    @abstractmethod
    def split(self, samples: Sequence[Sample], seed: int) -> dict[str, list[str]]:
        """Ids of "train", "val" and every test set; a partition of the samples' ids.

        Raises:
            ValueError: too few samples.
        """

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], Labels]:
        """Draw an image uint8 (H, W, 3) of this domain's look and its labels uint8 (H, W)."""

    @abstractmethod
    def generate(self, folder: Path, count: int, seed: int) -> list[Path]:
        """Write `count` drawn pairs as this benchmark's official archive files.

        The same arguments give the same bytes.

        Raises:
            DiskError: the folder cannot be written to.
        """

    def remarks(self, sample: Sample, image: Image.Image, labels: Labels) -> list[Finding]:
        """What the audit should tell about a pair beyond what it looks for in every set.

        Called once for each pair that decodes, with the upright RGB image and its labels uint8
        (H, W), from several threads. A benchmark whose domain has oddities of its own overrides it.
        """
        return []

    def decode_mask(self, mask: Image.Image) -> DecodedMask:
        """Labels of an upright mask, and how cleanly it encodes them."""
        return self.masks.decode(mask)

    def read_mask(self, path: Path) -> Labels:
        """Read a mask file as labels, uint8 (H, W), upright.

        Raises:
            ManifestError: the file is not there.
            AuditError: it is damaged, or holds values that are no labels.
        """
        data = images.read_bytes(path)
        try:
            decoded = self.decode_mask(images.decode(data))
            if decoded.problem is not None:
                raise images.UnreadableImageError(f"is no mask: {decoded.problem}")
        except images.UnreadableImageError as error:
            raise images.damaged(path, error) from error
        return decoded.labels


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
    suffixes as images unless `mask_suffixes` says others. Files with other suffixes or endings are
    not looked at; the audit lists them as unused.
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
    """Where an archive's layout begins, which some packers put into a folder of its own.

    Returns:
        Of `root` and the folders in it, the first in which most of the glob patterns find
        something; `root` when none finds anything.
    """
    candidates = [root, *sorted(path for path in root.glob("*") if path.is_dir())]
    return max(candidates, key=lambda folder: sum(any(folder.glob(p)) for p in patterns))


def joined(listings: Iterable[Listing]) -> Listing:
    """One listing of what several folders hold, its samples sorted by id."""
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


# A benchmark of this package adds its line here.
BENCHMARKS: Registry[Benchmark] = Registry(
    "benchmark",
    {
        "kvasir": "naslora.data.benchmarks.kvasir",
        "cvc_clinicdb": "naslora.data.benchmarks.cvc_clinicdb",
        "isic2017": "naslora.data.benchmarks.isic2017",
        "cod": "naslora.data.benchmarks.cod",
        "sbu": "naslora.data.benchmarks.sbu",
        "leaf": "naslora.data.benchmarks.leaf",
        "road": "naslora.data.benchmarks.road",
        "trans10k_v1": "naslora.data.benchmarks.trans10k_v1",
        "trans10k_v2": "naslora.data.benchmarks.trans10k_v2",
    },
    "@register_benchmark",
)
_B = TypeVar("_B", bound=type[Benchmark])


def register_benchmark(benchmark: _B) -> _B:
    """Class decorator that adds a benchmark to the registry."""
    BENCHMARKS.register(benchmark.name, benchmark())
    return benchmark


def get_benchmark(name: str) -> Benchmark:
    """Look a benchmark up, importing its module if need be.

    Raises:
        SettingsError: there is none of that name.
    """
    return BENCHMARKS.get(name)


def benchmark_names() -> list[str]:
    """Names of all benchmarks, imported or not."""
    return BENCHMARKS.names()


def load_benchmark_files(paths: Iterable[Path]) -> None:
    """Register benchmarks of Python files outside this package; see `Registry.load_file`.

    Raises:
        SettingsError: there is no such file, it does not register that benchmark, or the name is
            taken.
    """
    for path in paths:
        BENCHMARKS.load_file(path)
