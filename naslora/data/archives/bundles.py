"""Bundles: one zip with lists of a benchmark's images, in place of its official archives.

AutoGluon publishes six of them with Conv-LoRA, for download without a login. Each holds one folder
with `train.csv`, `val.csv` and lists of test images, and the files that these name. The lists have
the columns `image` and `label`, paths relative to the folder. A bundle is recognised by these
lists, whatever its file is called, and pinned when it is first used. Its lists are the split, and
results say that it is not official.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import ClassVar, cast

import numpy as np
from PIL import Image

from naslora.core.errors import ArchiveError
from naslora.data import images
from naslora.data.archives.catalogue import Archive, Replacement, find
from naslora.data.archives.unpack import file_names
from naslora.data.benchmarks.contract import Benchmark
from naslora.data.benchmarks.listing import Finding, Listing, Sample, distinct_ids
from naslora.data.benchmarks.splits import by_part
from naslora.data.masks import GreyMask, Labels, PaletteMask


def bundle_for(task: str, archives: Iterable[Archive]) -> Archive | None:
    """The bundle that can replace a task's archives, if there is one."""
    return next((archive for archive in archives if task in archive.replaces), None)


def is_bundle(path: Path, bundle: Archive) -> bool:
    """Whether a file is this bundle by its contents; False for a damaged archive."""
    lists = {f"{bundle.folder}/train.csv", f"{bundle.folder}/val.csv"}
    try:
        return lists <= {name.removeprefix("./") for name in file_names(path)}
    except (ArchiveError, OSError):
        return False


def find_bundle(bundle: Archive, folder: Path) -> Path | None:
    """Find a bundle in a folder, under its own name or any other.

    Raises:
        ArchiveError: the folder cannot be looked into.
    """
    if (path := find(bundle, folder)) is not None and is_bundle(path, bundle):
        return path
    try:
        others = sorted(path for path in folder.glob("*") if path.is_file())
        found = (path for path in others if zipfile.is_zipfile(path) and is_bundle(path, bundle))
        return next(found, None)
    except OSError as error:
        raise ArchiveError(f"cannot look for archives: {error.strerror}", where=folder) from error


def from_bundle(benchmark: Benchmark, bundle: Archive) -> Benchmark:
    """The benchmark with the images and the split of a bundle; all else is unchanged.

    Its archive is the bundle alone, to be unpacked to `root/<key of the bundle>`.
    """
    members = {
        "archives": (bundle.key,),
        "bundle": bundle,
        "replacement": bundle.replaces[benchmark.name],
    }
    kind = type(f"Bundled{type(benchmark).__name__}", (_FromBundle, type(benchmark)), members)
    return cast(Benchmark, kind())


class _FromBundle(Benchmark):
    bundle: ClassVar[Archive]
    replacement: ClassVar[Replacement]

    def samples(self, root: Path) -> Listing:
        folder = root / self.bundle.key / str(self.bundle.folder)
        samples: list[Sample] = []
        findings: list[Finding] = []
        left_out: dict[str, str] = {}
        for part, name in {"train": "train.csv", "val": "val.csv", **self._tests}.items():
            path = folder / name
            found, problem = _read_list(path, part, root)
            own = [s for s in found if re.fullmatch(self.replacement.stems, _stem(s.image))]
            for sample in set(found) - set(own):
                why = "of another benchmark in the same bundle"
                left_out |= {sample.image: why, sample.mask: why}
            if found and not own:
                problem = f"no image in {name} is named like those of {self.title}"
            if problem:
                findings.append(Finding("layout", "error", problem, [name]))
            left_out[path.relative_to(root).as_posix()] = "list of images"
            samples += own
        named = dict.fromkeys(name for s in samples for name in (s.image, s.mask))
        if missing := [name for name in named if not (root / name).is_file()]:
            text = "file that a list names and the bundle lacks"
            findings.append(Finding("missing", "error", text, missing))
        there = [s for s in samples if s.image not in missing and s.mask not in missing]
        return Listing(sorted(distinct_ids(there), key=lambda s: s.id), findings, left_out)

    def split(self, samples: Sequence[Sample], seed: int) -> dict[str, list[str]]:
        """The bundle's lists, whatever the seed."""
        absent = [name for name in self.test_sets if name not in self._tests]
        return by_part(samples, ("train", "val", *self.test_sets), ["val", *absent])

    @property
    def _tests(self) -> dict[str, str]:
        """Test set to the list of its images."""
        return self.replacement.tests or {self.test_sets[0]: "test.csv"}


def recode_masks(
    benchmark: Benchmark, root: Path, samples: Sequence[Sample]
) -> tuple[list[Sample], list[Finding]]:
    """Rewrite masks of a binary benchmark that are not in its own encoding but clearly in another.

    Bundles have masks of 0 and 255 where the official set has 0 and 1, or the other way round.
    Other masks that the benchmark cannot read are left unchanged, and the audit refuses them.

    Args:
        benchmark: the benchmark.
        root: the folder that the samples' paths are relative to; masks are replaced there by PNG
            files.
        samples: the samples.

    Returns:
        The samples with the new names of their masks, and what was done.
    """
    image_names = {sample.image for sample in samples}
    names: dict[str, str] = {}
    for name in dict.fromkeys(sample.mask for sample in samples if sample.mask not in image_names):
        path = root / name
        labels = _foreign_labels(benchmark, path.read_bytes())
        recoded = None if labels is None else _own_mask(benchmark, labels)
        if recoded is not None:
            path.unlink()
            new = _free_name(path)
            recoded.save(new)
            names[name] = new.relative_to(root).as_posix()
    changed = [replace(sample, mask=names.get(sample.mask, sample.mask)) for sample in samples]
    text = "mask rewritten in the encoding of the official set"
    return changed, [Finding("recoded", "oddity", text, list(names))] if names else []


def _free_name(path: Path) -> Path:
    """A name that no file has, for a PNG file that replaces another file."""
    new = path.with_suffix(".png")
    while new.exists():
        new = new.with_stem(f"{new.stem}_mask")
    return new


def _foreign_labels(benchmark: Benchmark, data: bytes) -> Labels | None:
    """Labels of a mask of 0 and 1, or of 0 and 255, that the benchmark itself cannot read."""
    try:
        mask = images.decode(data)
    except images.UnreadableImageError:
        return None
    if len(benchmark.classes) > 1 or benchmark.decode_mask(mask).problem is None:
        return None
    for encoding in (GreyMask(), PaletteMask(classes=2)):
        decoded = encoding.decode(mask)
        if decoded.problem is None:
            return decoded.labels
    return None


def _own_mask(benchmark: Benchmark, labels: Labels) -> Image.Image | None:
    """A mask that the benchmark reads as these labels; None if no known encoding does."""
    for value in (255, 1):
        mask = Image.fromarray(labels * np.uint8(value))
        decoded = benchmark.decode_mask(mask)
        if decoded.problem is None and np.array_equal(decoded.labels, labels):
            return mask
    return None


def _read_list(path: Path, part: str, root: Path) -> tuple[list[Sample], str | None]:
    """The pairs of a list, whose ids may repeat; or what is wrong with it."""
    import pandas as pd

    folder = path.parent.relative_to(root)
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, pd.errors.ParserError) as error:
        return [], f"list of images that cannot be read: {type(error).__name__}"
    except pd.errors.EmptyDataError:
        table = pd.DataFrame()
    wanted = ["image", "label"]
    if (
        not len(table)
        or not set(wanted) <= set(table.columns)
        or (table[wanted] == "").any(axis=None)
    ):
        return [], "list without rows, or without the columns image and label in each"
    pairs = list(table[wanted].itertuples(index=False, name=None))
    names = [name for pair in pairs for name in pair]
    if any(PurePosixPath(name).is_absolute() or ".." in name.split("/") for name in names):
        return [], "list with paths that lead out of the bundle"
    place = folder.as_posix()
    return [
        Sample(_stem(image), f"{place}/{image}", f"{place}/{mask}", part) for image, mask in pairs
    ], None


def _stem(name: str) -> str:
    return PurePosixPath(name).stem
