"""The base class of benchmarks, and their registry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, TypeVar

from PIL import Image

from naslora.core.registry import Registry
from naslora.data import images
from naslora.data.benchmarks.listing import (
    Finding,
    Listing,
    Pairs,
    Sample,
    distinct_ids,
    folder_with,
    joined,
)
from naslora.data.benchmarks.splits import by_part, hold_out
from naslora.data.masks import DecodedMask, Labels, MaskEncoding


@dataclass(frozen=True)
class CountException:
    """The reason why Appendix B prints other counts than a benchmark's archives hold.

    Attributes:
        printed: Appendix B's number of samples of each split.
        reason: what is known about the difference; a clause without a full stop.
    """

    printed: Mapping[str, int]
    reason: str


class Benchmark:
    """A data set: its archives, the pairs in them, the encoding of masks, classes, split, metrics.

    Attributes:
        name: the task's name in settings and file names.
        title: the name in tables.
        archives: keys of archives.yaml; each is unpacked to `root/<key>`.
        layout: where pairs lie in the archives; used by the default `samples`, and to generate
            archives of a benchmark without a generator in `naslora.synthetic.benchmarks`.
        classes: for a binary task its one foreground class; else all, background first.
        test_sets: names of the test sets, which are evaluated separately.
        metrics: names of the metrics that tables show, in their order.
        masks: how mask files encode labels.
        expected: number of samples of each split of the whole benchmark (Appendix B); splits
            that are counted together are joined by a plus: "easy+hard".
        most_classes: the largest number of classes in one image, background included, if known; as
            many mask tokens are needed.
        count_exception: set where Appendix B's counts are not the `expected` ones.
        may_be_shown: whether the data's terms let figures and reports show the real images.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    archives: ClassVar[tuple[str, ...]]
    layout: ClassVar[tuple[Pairs, ...]] = ()
    classes: ClassVar[tuple[str, ...]]
    test_sets: ClassVar[tuple[str, ...]] = ("test",)
    metrics: ClassVar[tuple[str, ...]]
    masks: ClassVar[MaskEncoding]
    expected: ClassVar[Mapping[str, int]]
    most_classes: ClassVar[int | None] = None
    count_exception: ClassVar[CountException | None] = None
    may_be_shown: ClassVar[bool] = False

    def samples(self, root: Path) -> Listing:
        """List the pairs under the folder of unpacked archives; problems are reported as findings.

        By default the pairs of `layout`. A top-level folder around everything is skipped.
        """
        listings = []
        for pairs in self.layout:
            archive = root / (pairs.archive or self.archives[0])
            listings.append(pairs.find(root, folder_with(archive, pairs.image, pairs.mask)))
        found = joined(listings)
        return replace(found, samples=sorted(distinct_ids(found.samples), key=lambda s: s.id))

    def split(self, samples: Sequence[Sample], seed: int) -> dict[str, list[str]]:
        """Ids of "train", "val" and every test set; a partition of the samples' ids.

        By default the official parts of the samples. Samples without parts are held out at random
        in the proportions of `expected`: first the test set, then the validation set.

        Raises:
            ValueError: too few samples.
        """
        if any(sample.part is not None for sample in samples):
            return by_part(samples, ("train", "val", *self.test_sets))
        train, val, test = (self.expected[name] for name in ("train", "val", "test"))
        rest, tested = hold_out((s.id for s in samples), test / (train + val + test), seed)
        trained, validated = hold_out(rest, val / (train + val), seed) if val else (rest, [])
        return {"train": trained, "val": validated, "test": tested}

    def remarks(self, sample: Sample, image: Image.Image, labels: Labels) -> list[Finding]:
        """Findings of the audit about a pair, besides those that are common to all benchmarks.

        Called once for each pair that decodes, with the upright RGB image and its labels uint8
        (H, W), from several threads. To be overridden for oddities of a data set.
        """
        return []

    def decode_mask(self, mask: Image.Image) -> DecodedMask:
        """Labels of an upright mask, and how exactly it encodes them."""
        return self.masks.decode(mask)

    def read_mask(self, path: Path) -> Labels:
        """Read a mask file as labels, uint8 (H, W), upright.

        Raises:
            ManifestError: the file is not there.
            AuditError: it is damaged, or holds values that are not labels.
        """
        data = images.read_bytes(path)
        try:
            decoded = self.decode_mask(images.decode(data))
            if decoded.problem is not None:
                raise images.UnreadableImageError(f"is not a mask: {decoded.problem}")
        except images.UnreadableImageError as error:
            raise images.damaged(path, error) from error
        return decoded.labels


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
    """Look up a benchmark, importing its module if necessary.

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
