"""Making a benchmark from a user's folder, CSV file or COCO file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from naslora.core.errors import AuditError
from naslora.core.files import sha256
from naslora.core.wording import first_of
from naslora.data.benchmarks.contract import BENCHMARKS
from naslora.data.benchmarks.listing import Sample
from naslora.data.images import FORMATS
from naslora.data.masks import IGNORE
from naslora.data.own.benchmark import (
    OwnData,
    OwnDescription,
    find_all,
    make_benchmark,
    split_pairs,
)
from naslora.data.own.options import OwnOptions
from naslora.data.own.pairs import NAMED, OwnPair, PairListing
from naslora.data.own.survey import Survey, survey
from naslora.data.own.understand import understand

# Tolerated relative difference between the aspect ratios of a mask and its image, from rounding.
_ASPECT = 0.02
# Names of files that say nothing about the data; the folder's name is used instead.
_COMMON = ("pairs", "annotations", "train", "data", "dataset", "_annotations.coco", "instances")


def own_data(
    path: Path, options: OwnOptions | None = None, split_seed: int = 0
) -> tuple[OwnData, list[str]]:
    """Interpret user-supplied images, and make a benchmark of them. Nothing is written.

    Every mask is read once. The meaning of mask values is inferred from the values themselves;
    ambiguous ones are an error unless options say what they mean.

    Args:
        path: a folder with `images` and `masks`, whose files are matched by name, subfolders
            included; a CSV file with the columns image and mask, and optionally split and group; a
            COCO JSON file; or a folder with just one such file.
        options: what cannot be inferred from the files.
        split_seed: seed of the split into training, validation and test images; a study's
            `data.split_seed`.

    Returns:
        The benchmark, and lines to print that say how the files were interpreted.
        `benchmark.save(folder)` writes a file that a study can list as a task:
        `load_study(overrides={"tasks": [str(file)]})`.

    Raises:
        AuditError: the files are not pairs, masks are ambiguous, empty or of another size, or there
            are too few images; the remedy names the option to use.
    """
    options = options or OwnOptions()
    if not path.exists():
        raise AuditError("there is no such folder or file", where=path)
    path = _source(path.absolute())
    found = find_all(path, options)
    reading = None
    if found.classes is not None:
        classes, labels_of, pixels, lines = _annotated(found, options, path)
    else:
        seen = survey(found.pairs)
        lines = _sizes(seen, options, path)
        understood = understand(seen, options, path)
        reading, classes = understood.reading, understood.classes
        lines += understood.lines
        labels_of = [frozenset(map(reading.label_of, values)) for values in seen.values_of]
        pixels = understood.pixels
    names = classes if len(classes) > 1 else ("background", *classes)
    samples = [Sample(p.id, "", "", p.part, p.group) for p in found.pairs]
    try:
        splits = split_pairs(samples, options, split_seed)
    except ValueError as error:
        raise AuditError(
            f"too few images to split: {error}",
            where=path,
            remedy="training, validation and test images are needed, of different groups if there "
            "are groups; with --test-share 0, two are enough",
        ) from None
    lines += _split_lines(found.pairs, splits, split_seed)
    lines += _absent_classes(names, found.pairs, labels_of, splits, path)
    description = OwnDescription(
        name=options.name or _task_name(path),
        title=options.name or _stem(path),
        data=path,
        data_sha256=sha256(path) if path.is_file() else None,
        options=options,
        reading=reading,
        classes=classes,
        test_sets=("test",) if "test" in splits else ("val",),
        expected={split: len(ids) for split, ids in splits.items()},
        class_pixels=tuple(pixels[index] for index in range(len(names))),
        most_classes=max(len(labels - {IGNORE}) for labels in labels_of),
    )
    if len(classes) > 1:
        lines.append(f"at most {description.most_classes} classes are in one image")
    return make_benchmark(description), [*found.lines, *lines]


def _annotated(
    found: PairListing, options: OwnOptions, path: Path
) -> tuple[tuple[str, ...], list[frozenset[int]], Counter[int], list[str]]:
    """Of a COCO file: classes, labels in each image, pixels of each label, and lines to print."""
    if options.mask_values is not None or options.ignore is not None:
        raise AuditError(
            "--mask-values and --ignore are for mask files; a COCO file names its classes itself",
            where=path,
        )
    assert found.classes is not None
    names = found.classes
    if options.classes is not None:
        if len(options.classes) not in (len(names), len(names) - 1):
            raise AuditError(
                f"--classes names {len(options.classes)} classes, the file has "
                f"{len(names) - 1} categories: {', '.join(names[1:])}",
                where=path,
            )
        names = (names[0], *options.classes[-(len(names) - 1) :])
    pixels: Counter[int] = Counter()
    labels_of = []
    for pair in found.pairs:
        assert not isinstance(pair.mask, Path)
        try:
            with Image.open(pair.image, formats=FORMATS) as image:
                labels = pair.mask.upright(image)
        except OSError as error:
            raise AuditError(
                f"{pair.image.name} is not an image: {error}", where=pair.image
            ) from None
        values, counts = np.unique(labels, return_counts=True)
        pixels.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        labels_of.append(frozenset(values.tolist()))
    total = max(sum(pixels.values()) - pixels[IGNORE], 1)
    shares = ", ".join(f"{n} {pixels[i] / total:.1%}" for i, n in enumerate(names) if i)
    lines = [f"share of the pixels: {shares}"]
    empty = sum(labels <= {0} for labels in labels_of)
    if empty:
        lines.append(f"{empty} images have no annotation; they are all background")
    return names[1:] if len(names) == 2 else names, labels_of, pixels, lines


def _sizes(seen: Survey, options: OwnOptions, path: Path) -> list[str]:
    """Refuse masks that differ in size from their image, or say that they are resized."""
    if not seen.sizes:
        return []
    sizes = [f"{id_} ({m[0]}x{m[1]}, image {i[0]}x{i[1]})" for id_, m, i in seen.sizes]
    what = f"{len(sizes)} masks are of another size than their image: {first_of(sizes, NAMED)}"
    if not options.resize_masks:
        raise AuditError(
            what,
            where=path,
            remedy="give masks of the images' size; or have them resized, by nearest neighbour: "
            "--resize-masks",
        )
    if skewed := [
        id_ for id_, m, i in seen.sizes if abs(m[0] * i[1] / (m[1] * i[0]) - 1) > _ASPECT
    ]:
        raise AuditError(
            f"{len(skewed)} masks are of another shape than their image: {first_of(skewed, NAMED)}",
            where=path,
            remedy="they may be turned or cropped; regenerate them",
        )
    return [f"{what}; they are resized, by nearest neighbour"]


def _split_lines(pairs: Sequence[OwnPair], splits: dict[str, list[str]], seed: int) -> list[str]:
    counts = ", ".join(f"{len(ids)} {split}" for split, ids in splits.items())
    parts = {pair.part for pair in pairs if pair.part}
    drawn = [pair for pair in pairs if pair.part == "train"] if parts else pairs
    groups = {pair.group for pair in drawn if pair.group}
    at_random = f"at random, seed {seed}"
    if groups:
        at_random += f", with the {len(groups)} groups kept together"
    if not parts:
        how = at_random
    elif "val" in parts:
        how = "as given"
    else:
        how = f"as given, but validation images held out from the training images {at_random}"
    lines = [f"split: {counts}, {how}"]
    if "test" not in splits:
        lines.append("no test images: results are of the validation images, and may be optimistic")
    return lines


def _absent_classes(
    names: Sequence[str],
    pairs: Sequence[OwnPair],
    labels_of: Sequence[frozenset[int]],
    splits: dict[str, list[str]],
    path: Path,
) -> list[str]:
    """Lines on classes that no image of a split shows; training images must show at least one."""
    lines = []
    labels = {pair.id: found for pair, found in zip(pairs, labels_of, strict=True)}
    for split, ids in splits.items():
        there = frozenset().union(*(labels[id_] for id_ in ids))
        absent = [name for index, name in enumerate(names) if index and index not in there]
        if split == "train" and len(absent) == len(names) - 1:
            raise AuditError(
                f"no training image has any {', '.join(absent)}",
                where=path,
                remedy="add images with masks, or split them yourself (see the column split)",
            )
        if absent:
            lines.append(f"no {split} image has any {', '.join(absent)}")
    return lines


def _source(path: Path) -> Path:
    """The path, or the only JSON file in a folder that has no masks."""
    files = list(path.glob("*.json")) if path.is_dir() and not (path / "masks").is_dir() else []
    return files[0] if len(files) == 1 else path


def _stem(path: Path) -> str:
    """The name of the data: the path's own, or its folder's if the file's name is a common one."""
    return path.stem if path.is_dir() or path.stem not in _COMMON else path.parent.name


def _task_name(path: Path) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", _stem(path).lower()).strip("_") or "own"
    return f"own_{name}" if name in BENCHMARKS.modules else name
