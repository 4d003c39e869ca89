"""User-supplied images as a benchmark, which a study uses like any other."""

from __future__ import annotations

import json
import pprint
import shutil
import textwrap
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar, cast

import numpy as np
from PIL import Image

from naslora.core.errors import AuditError
from naslora.core.files import disk_errors, fingerprint, sha256, write_json, write_text
from naslora.core.validation import Settings
from naslora.data.benchmarks.contract import BENCHMARKS, Benchmark
from naslora.data.benchmarks.listing import Finding, Listing, Sample
from naslora.data.benchmarks.splits import by_part, hold_out_groups
from naslora.data.images import FORMATS, UnreadableImageError
from naslora.data.manifest import ManifestArchive
from naslora.data.masks import Labels, PaletteMask
from naslora.data.own.coco import read_coco
from naslora.data.own.options import OwnOptions
from naslora.data.own.pairs import OwnPair, PairListing, distinct_names, find_pairs
from naslora.data.own.reading import MaskMapping
from naslora.data.own.survey import read_raw, upright_size

BINARY_METRICS = ("IoU", "Dice", "S_measure", "E_measure", "weighted_F", "Acc")
_INDEX = "pairs.json"
_THREADS = 4
_FILE = '''"""{title}: user-supplied images as a task; list this file in `tasks` of a study."""

from naslora.data.own.benchmark import OwnDescription, register_own_data

register_own_data(
    OwnDescription.model_validate(
        {content}
    )
)
'''


class OwnDescription(Settings):
    """Description of a task of user-supplied images.

    Attributes:
        name, title: name and title of the task.
        data: the folder, CSV file or COCO JSON file.
        data_sha256: SHA-256 of the CSV or JSON file; None for a folder.
        options: the user's options.
        reading: how mask values become labels; None for COCO.
        classes: one foreground class, or all with the background first.
        test_sets: ("test",), or ("val",) where no images are held out for testing.
        expected: number of images of each split.
        class_pixels: pixels of each class, the background first, over all images.
        most_classes: the largest number of classes in one image, background included.
    """

    name: str
    title: str
    data: Path
    data_sha256: str | None
    options: OwnOptions
    reading: MaskMapping | None
    classes: tuple[str, ...]
    test_sets: tuple[str, ...]
    expected: dict[str, int]
    class_pixels: tuple[int, ...]
    most_classes: int


class OwnData(Benchmark):
    """A benchmark of images in a user's folder.

    It has no archives: `import_pairs` copies images to the prepared folder, and writes their masks
    as PNG files of class indices, 255 for void.
    """

    archives = ()
    may_be_shown = True
    description: ClassVar[OwnDescription]

    def import_pairs(self, folder: Path) -> ManifestArchive:
        """Copy all images to `folder/images`, and write their masks to `folder/masks`.

        Returns:
            The record of the source: its name, number of bytes, and a hash over all files.

        Raises:
            AuditError: an image or a mask cannot be read, or has changed since the data were
                described.
            DiskError: the disk is full, or the folder cannot be written to.
        """
        described = self.description
        pairs = find_all(described.data, described.options).pairs
        for name in ("images", "masks"):
            (folder / name).mkdir()
        labels_of = label_reader(described)

        def copy(pair: OwnPair) -> list[str]:
            sample = _sample(pair)
            image, mask = folder / sample.image, folder / sample.mask
            labels = labels_of(pair)
            with disk_errors(image):
                shutil.copyfile(pair.image, image)
                Image.fromarray(labels).save(mask)
            return [pair.id, sha256(image), sha256(mask)]

        with ThreadPoolExecutor(_THREADS) as pool:
            hashes = list(pool.map(copy, pairs))
        write_json(folder / _INDEX, [asdict(_sample(pair)) for pair in pairs])
        return ManifestArchive(
            file=described.data.name,
            sha256=fingerprint(hashes),
            bytes=source_bytes(described),
            official=None,
        )

    def samples(self, root: Path) -> Listing:
        """The pairs that `import_pairs` wrote."""
        samples = [Sample(**row) for row in json.loads((root / _INDEX).read_bytes())]
        return Listing(samples, list(_divided_groups(samples)), {_INDEX: ""})

    def split(self, samples: Sequence[Sample], seed: int) -> dict[str, list[str]]:
        return split_pairs(samples, self.description.options, seed)

    def text(self) -> str:
        """The content of the file that a study's `tasks` may name."""
        described = self.description.model_dump(mode="json")
        content = pprint.pformat(described, width=90, sort_dicts=False)
        content = textwrap.indent(content, 8 * " ").strip()
        return _FILE.format(title=self.title, content=content)

    def save(self, folder: Path) -> Path:
        """Write a file that a study's `tasks` may name: `<name>.py`.

        Raises:
            DiskError: the file cannot be written.
        """
        path = folder / f"{self.name}.py"
        write_text(path, self.text())
        return path


def source_bytes(description: OwnDescription) -> int:
    """Bytes of all images and masks, to recognise changed data quickly.

    Raises:
        AuditError: files are missing, or are not pairs.
    """
    pairs = find_all(description.data, description.options).pairs
    files = [file for p in pairs for file in (p.image, p.mask) if isinstance(file, Path)]
    if description.data.is_file():
        files.append(description.data)
    return sum(file.stat().st_size for file in files)


def make_benchmark(description: OwnDescription) -> OwnData:
    """The benchmark of a description."""
    classes = description.classes
    members = {
        "name": description.name,
        "title": description.title,
        "classes": classes,
        "test_sets": description.test_sets,
        "metrics": BINARY_METRICS if len(classes) == 1 else _metrics(classes),
        "masks": PaletteMask(max(len(classes), 2), void=True),
        "expected": description.expected,
        "most_classes": description.most_classes,
        "description": description,
    }
    return cast(OwnData, type("OwnData", (OwnData,), members)())


def register_own_data(description: OwnDescription) -> None:
    """Register the benchmark of a description under its name."""
    BENCHMARKS.register(description.name, make_benchmark(description))


def find_all(data: Path, options: OwnOptions) -> PairListing:
    """The pairs of a folder, a CSV file or a COCO JSON file.

    Raises:
        AuditError: there are none, or some are incomplete.
    """
    if data.suffix.lower() != ".json":
        return find_pairs(data)
    coco = read_coco(data, options.crowd)
    ids = distinct_names(str(Path(name).with_suffix("")) for name in coco.images)
    if len(ids) < len(coco.images):
        ids = distinct_names(coco.images)
        stems = {name: name for name in coco.images}
    else:
        stems = {name: str(Path(name).with_suffix("")) for name in coco.images}
    pairs = [OwnPair(ids[stems[name]], *found) for name, found in coco.images.items()]
    count = sum(len(mask.regions) for _, mask in coco.images.values())
    lines = [f"{len(pairs)} images with {count} annotations in {data.absolute()}"]
    if coco.crowds:
        lines.append(f"{coco.crowds} annotations are crowds; they are {options.crowd} (--crowd)")
    return PairListing(sorted(pairs, key=lambda pair: pair.id), lines, coco.classes)


def label_reader(description: OwnDescription) -> Callable[[OwnPair], Labels]:
    """A function that returns the labels of a pair: uint8 (H, W), upright, of the image's size."""

    def read(pair: OwnPair) -> Labels:
        file = pair.image
        try:
            if not isinstance(pair.mask, Path):
                with Image.open(file, formats=FORMATS) as image:
                    return pair.mask.upright(image)
            size = upright_size(file)
            file = pair.mask
            assert description.reading is not None
            labels = description.reading.labels(read_raw(file.read_bytes()))
        except (OSError, UnreadableImageError) as error:
            unread = f"cannot be read: {error}" if isinstance(error, OSError) else error
            raise AuditError(
                f"{file.name} {unread}",
                where=file,
                remedy="the data have changed since they were described: run naslora fit again",
            ) from error
        if labels.shape == size[::-1] or not description.options.resize_masks:
            return labels
        return np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST), np.uint8)

    return read


def split_pairs(samples: Sequence[Sample], options: OwnOptions, seed: int) -> dict[str, list[str]]:
    """The user's own split, with validation images added if it has none; else a random one.

    Images of one group stay together in all that is drawn at random.

    Raises:
        ValueError: too few images or groups.
    """
    if any(sample.part for sample in samples):
        parts = by_part(samples, ("train", "val", "test"), ("val", "test"))
        if not parts["val"]:
            training = [sample for sample in samples if sample.part == "train"]
            parts["train"], parts["val"] = hold_out_groups(training, options.val_share, seed)
        return parts if parts["test"] else {name: parts[name] for name in ("train", "val")}
    if not options.test_share:
        train, val = hold_out_groups(samples, options.val_share, seed)
        return {"train": train, "val": val}
    rest, test = hold_out_groups(samples, options.test_share, seed)
    remaining = [sample for sample in samples if sample.id in set(rest)]
    share = min(options.val_share / (1 - options.test_share), 0.9)
    train, val = hold_out_groups(remaining, share, seed)
    return {"train": train, "val": val, "test": test}


def _metrics(classes: Sequence[str]) -> tuple[str, ...]:
    return ("mIoU", "mIoU_foreground", "Acc", *(f"IoU_{name}" for name in classes))


def _sample(pair: OwnPair) -> Sample:
    """The pair under its names in the prepared folder."""
    image = f"images/{pair.id}{pair.image.suffix.lower()}"
    return Sample(pair.id, image, f"masks/{pair.id}.png", pair.part, pair.group)


def _divided_groups(samples: Sequence[Sample]) -> Iterator[Finding]:
    """Groups that the user's own split divides."""
    parts: dict[str, set[str]] = {}
    for sample in samples:
        if sample.group and sample.part:
            parts.setdefault(sample.group, set()).add(sample.part)
    if divided := sorted(group for group, found in parts.items() if len(found) > 1):
        yield Finding("divided_group", "oddity", "group in several splits (leakage)", divided)
