"""Pairs of an image and a mask: in the folders `images` and `masks`, or listed in a CSV file."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath

from naslora.core.errors import AuditError
from naslora.core.wording import first_of
from naslora.data.images import SUFFIXES
from naslora.data.own.coco import CocoMask

_PARTS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
# Endings that the names of masks may have after those of their images.
_ENDINGS = ("_mask", "_masks", "_gt", "_label", "_labels", "_segmentation", "_seg", "-mask")
_SEPARATORS = (",", ";", "\t")
_LONGEST_ID = 150  # bytes; a file's name adds a suffix
NAMED = 5


@dataclass(frozen=True)
class OwnPair:
    """An image and its mask, wherever they are stored.

    Attributes:
        id: unique, and valid as a file name.
        part: "train", "val" or "test" where the user has split the images.
        group: images of one group stay in one split, such as tiles of one photograph.
    """

    id: str
    image: Path
    mask: Path | CocoMask
    part: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class PairListing:
    """All pairs of a source, and lines to print about how they were found.

    Attributes:
        classes: all COCO categories with the background first; None for mask files.
    """

    pairs: list[OwnPair]
    lines: list[str] = field(default_factory=list)
    classes: tuple[str, ...] | None = None


def find_pairs(path: Path) -> PairListing:
    """Pair the files of a folder, or those that a CSV file lists.

    Raises:
        AuditError: there are no such files, or they do not make pairs.
    """
    return _from_csv(path) if path.is_file() else _from_folder(path)


def _from_folder(path: Path) -> PairListing:
    images, masks = _subfolder(path, "images"), _subfolder(path, "masks")
    lines = []
    image_of, ignored = _by_stem(images)
    mask_of, more = _by_stem(masks)
    if ignored + more:
        lines.append(f"{ignored + more} files in the folders are not images and are ignored")
    if ending := _common_ending(image_of, mask_of):
        mask_of = {stem.removesuffix(ending): found for stem, found in mask_of.items()}
        lines.append(f"masks are named like their images, with {ending!r} appended")
    _check_complete(path, image_of, mask_of)
    parts = {stem: _PARTS.get(PurePosixPath(stem).parts[0].lower()) for stem in image_of}
    is_split = all("/" in stem and part for stem, part in parts.items())
    if is_split and "train" in parts.values():
        lines.append("the folders train, val and test in images are the split")
    else:
        parts = dict.fromkeys(parts)
    ids = distinct_names(image_of)
    pairs = [OwnPair(ids[s], image_of[s], mask_of[s], parts[s]) for s in image_of]
    lines.insert(0, f"{len(pairs)} images with masks in {path.absolute()}, matched by name")
    if not is_split and (lists := sorted(path.glob("*.csv"))):
        lines.append(f"{lists[0].name} is not read; give its path to use it")
    return PairListing(sorted(pairs, key=lambda pair: pair.id), lines)


def _subfolder(path: Path, name: str) -> Path:
    inside = sorted(p.name for p in path.iterdir()) if path.is_dir() else []
    found = [p for p in inside if p.lower() == name and (path / p).is_dir()]
    if not found:
        here = f"it holds {', '.join(inside[:10])}" if inside else "it is empty, or not there"
        raise AuditError(
            f"there is no folder {name!r} in it: {here}",
            where=path,
            remedy="give a folder with `images` and `masks`, a CSV file with the columns image and "
            "mask, or a COCO JSON file",
        )
    return path / found[0]


def _by_stem(folder: Path) -> tuple[dict[str, Path], int]:
    """Image files below a folder by path without suffix, and the number of other files."""
    found: dict[str, Path] = {}
    twice = []
    ignored = 0
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if not path.is_file() or any(p.startswith(".") or p == "__MACOSX" for p in relative.parts):
            continue
        if path.suffix.lower() not in SUFFIXES:
            ignored += 1
            continue
        stem = relative.with_suffix("").as_posix()
        if stem in found:
            twice.append(f"{relative} and {found[stem].relative_to(folder)}")
        found[stem] = path
    if twice:
        raise AuditError(
            f"files that differ only in their suffix: {first_of(twice, NAMED)}",
            where=folder,
            remedy="keep one of each",
        )
    return found, ignored


def _common_ending(image_of: Iterable[str], mask_of: Iterable[str]) -> str | None:
    """The ending of mask names that gives the most pairs; None if there are more without one."""
    images, masks = set(image_of), set(mask_of)

    def matches(ending: str) -> int:
        return sum(s.removesuffix(ending) in images for s in masks if s.endswith(ending))

    best = max(_ENDINGS, key=matches)
    return best if matches(best) > len(images & masks) else None


def _check_complete(path: Path, image_of: dict[str, Path], mask_of: dict[str, Path]) -> None:
    problems = []
    if alone := sorted(image_of.keys() - mask_of.keys()):
        problems.append(f"{len(alone)} images have no mask: {first_of(alone, NAMED)}")
    if alone := sorted(mask_of.keys() - image_of.keys()):
        problems.append(f"{len(alone)} masks have no image: {first_of(alone, NAMED)}")
    if not image_of:
        problems.append("there is no image")
    if problems:
        raise AuditError(
            "; ".join(problems),
            where=path,
            remedy="give every image a mask of the same name (suffixes may differ), in folders of "
            "the same names, and remove files without a partner; or list the pairs in a CSV file",
        )


def _from_csv(path: Path) -> PairListing:
    import pandas as pd

    try:
        with path.open(encoding="utf-8-sig") as file:
            head = file.readline()
        separator = max(_SEPARATORS, key=head.count)
        table = pd.read_csv(
            path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig"
        )
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError, OSError) as error:
        raise AuditError(f"this CSV file cannot be read: {error}", where=path) from None
    named = {str(column).strip().lower(): column for column in table.columns}
    image = _column(named, ("image", "images", "img", "image_path", "file_name", "filename"))
    mask = _column(named, ("mask", "masks", "label", "mask_path", "annotation"))
    lines = []
    if (image is None or mask is None) and len(named) == 2:
        image, mask = table.columns
        lines.append(f"the columns {image!r} and {mask!r} are read as image and mask")
    if image is None or mask is None or not len(table):
        raise AuditError(
            f"this CSV file has the columns {', '.join(map(str, table.columns))} and "
            f"{len(table)} rows; it needs the columns image and mask, and may have split and group",
            where=path,
        )
    split, group = named.get("split"), named.get("group")
    parts = [_part(path, value) for value in table[split]] if split else [None] * len(table)
    groups = list(table[group]) if group else [None] * len(table)
    images = [_resolve(path, name) for name in table[image]]
    masks = [_resolve(path, name) for name in table[mask]]
    if missing := [str(file) for file in (*images, *masks) if not file.is_file()]:
        raise AuditError(
            f"{len(missing)} files that it lists are not found: {first_of(missing, NAMED)}",
            where=path,
            remedy="correct the paths; they are relative to the folder of the CSV file",
        )
    if twice := sorted(str(file) for file, count in Counter(images).items() if count > 1):
        raise AuditError(f"images that it lists twice: {first_of(twice, NAMED)}", where=path)
    common = Path(os.path.commonpath([file.parent for file in images]))
    stems = {f.relative_to(common).with_suffix("").as_posix(): f for f in images}
    if len(stems) < len(images):
        stems = {f.relative_to(common).as_posix(): f for f in images}
    id_of = {stems[stem]: id_ for stem, id_ in distinct_names(stems).items()}
    pairs = [
        OwnPair(id_of[file], file, mask_file, part, group_name or None)
        for file, mask_file, part, group_name in zip(images, masks, parts, groups, strict=True)
    ]
    what = [text for text, there in (("split", split), ("group", group)) if there]
    extra = f", with the columns {' and '.join(what)}" if what else ""
    lines.insert(0, f"{len(pairs)} images with masks, listed in {path.absolute()}{extra}")
    return PairListing(sorted(pairs, key=lambda pair: pair.id), lines)


def _column(named: dict[str, str], wanted: Sequence[str]) -> str | None:
    return next((named[name] for name in wanted if name in named), None)


def _part(path: Path, value: str) -> str:
    try:
        return _PARTS[value.strip().lower()]
    except KeyError:
        raise AuditError(
            f"the column split holds {value!r}", where=path, remedy="write train, val or test"
        ) from None


def _resolve(path: Path, name: str) -> Path:
    """The file that a row of a CSV file names; Windows path separators are understood."""
    name = name.strip()
    file = Path(name) if "\\" not in name else Path(PureWindowsPath(name).as_posix())
    return file if file.is_absolute() else path.absolute().parent / file


def distinct_names(stems: Iterable[str]) -> dict[str, str]:
    """A name without separators for each path; names are distinct even if case is ignored."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for stem in sorted(stems):
        name = stem.replace("/", "_")
        digest = hashlib.sha256(stem.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        if len(name.encode("utf-8", "surrogatepass")) > _LONGEST_ID:
            name = f"{name[: _LONGEST_ID // 4]}-{digest}"
        if name.casefold() in taken:
            name = f"{name}-{digest}"
        taken.add(name.casefold())
        names[stem] = name
    return names
