"""COCO JSON files: polygons and run-length encodings as masks of class indices."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import ExifTags, Image, ImageOps

from naslora.core.errors import AuditError
from naslora.data.images import orientation
from naslora.data.masks import IGNORE, Labels
from naslora.data.own.options import MOST_CLASSES

Crowd = Literal["void", "foreground"]


@dataclass(frozen=True)
class CocoMask:
    """The annotations of one image.

    Attributes:
        where: name of the image, for messages.
        size: (H, W) of the image that their coordinates refer to.
        regions: (label, is a crowd, segmentation), the largest first, so that small ones are drawn
            over large ones.
        crowd: whether crowds are void or foreground.
    """

    where: str
    size: tuple[int, int]
    regions: tuple[tuple[int, bool, Any], ...]
    crowd: Crowd

    def labels(self) -> Labels:
        """Class indices uint8 (H, W), `IGNORE` for void.

        Raises:
            AuditError: a segmentation cannot be read.
        """
        labels = np.zeros(self.size, np.uint8)
        if self.crowd == "void":
            for _, _, segmentation in (r for r in self.regions if r[1]):
                labels[self._decoded(segmentation)] = IGNORE
        for label, is_crowd, segmentation in self.regions:
            if not is_crowd or self.crowd == "foreground":
                labels[self._decoded(segmentation)] = label
        return labels

    def _decoded(self, segmentation: Any) -> Any:
        from pycocotools import mask

        try:
            decoded = mask.decode(_run_lengths(segmentation, self.size))
        except Exception as error:  # the library raises bare exceptions
            raise AuditError(_unreadable(self.where, error)) from None
        if decoded.shape != self.size:
            raise AuditError(
                f"a segmentation of {self.where} is of {decoded.shape}, not {self.size}"
            )
        return decoded.astype(bool)

    def upright(self, image: Image.Image) -> Labels:
        """The labels of the upright image.

        If the coordinates refer to the stored pixels, labels are rotated as the EXIF tag says.

        Args:
            image: the opened image file, as it is stored.

        Raises:
            AuditError: the size of the annotations is not that of the image.
        """
        labels = self.labels()
        stored = (image.height, image.width)
        turn = orientation(image)
        shown = stored[::-1] if turn >= 5 else stored
        if self.size == shown:
            return labels
        if self.size == stored:
            mask = Image.fromarray(labels)
            mask.getexif()[ExifTags.Base.Orientation] = turn
            return np.asarray(ImageOps.exif_transpose(mask), np.uint8)
        raise AuditError(
            f"the annotations of {self.where} are for {self.size[1]}x{self.size[0]} pixels, the "
            f"image has {shown[1]}x{shown[0]}"
        )


@dataclass(frozen=True)
class CocoFile:
    """The content of a COCO file: (image path, mask) by file name, all classes, and crowds."""

    images: dict[str, tuple[Path, CocoMask]]
    classes: tuple[str, ...]
    crowds: int


def read_coco(path: Path, crowd: Crowd) -> CocoFile:
    """Read a COCO JSON file.

    Images are looked for next to the file, in the folder `images` next to it, and in a folder named
    like the file.

    Raises:
        AuditError: it is not a COCO file, has no annotations or too many categories, or an image is
            not found.
    """
    try:
        content = json.loads(path.read_bytes())
        categories = {c["id"]: str(c["name"]) for c in content["categories"]}
        images = {
            i["id"]: (str(i["file_name"]), int(i["height"]), int(i["width"]))
            for i in content["images"]
        }
        by_image: dict[Any, list[Any]] = defaultdict(list)
        for annotation in content["annotations"]:
            by_image[annotation["image_id"]].append(annotation)
        used = {a["category_id"] for a in content["annotations"]}
        crowds = sum(bool(a.get("iscrowd")) for a in content["annotations"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AuditError(
            f"this is not a COCO file: {type(error).__name__}: {error}",
            where=path,
            remedy="it needs images (id, file_name, height, width), categories (id, name) and "
            "annotations (image_id, category_id, segmentation)",
        ) from None
    if unknown := (used - categories.keys()) or (by_image.keys() - images.keys()):
        raise AuditError(
            f"annotations name a category or an image that is not listed: {_in_order(unknown)[:5]}",
            where=path,
            remedy="list it, or correct the ids of these annotations; the number 7 and the text "
            '"7" are different ids',
        )
    if not by_image:
        raise AuditError("this file has no annotations", where=path)
    if len(categories) >= MOST_CLASSES:
        raise AuditError(
            f"{len(categories)} categories; at most {MOST_CLASSES - 1} are possible", where=path
        )
    order = _in_order(categories)
    label = {id_: index for index, id_ in enumerate(order, start=1)}
    found = {}
    for id_, (name, height, width) in images.items():
        annotations = by_image[id_]
        if any(not annotation.get("segmentation") for annotation in annotations):
            raise AuditError(f"an annotation of {name} has no segmentation", where=path)
        try:
            annotations.sort(key=lambda a: _area(a, (height, width)), reverse=True)
        except Exception as error:  # the library raises bare exceptions
            raise AuditError(_unreadable(name, error), where=path) from None
        regions = tuple(
            (label[a["category_id"]], bool(a.get("iscrowd")), a["segmentation"])
            for a in annotations
        )
        mask = CocoMask(name, (height, width), regions, crowd)
        found[name] = (_find(path, name), mask)
    if len(found) < len(content["images"]):
        raise AuditError("several images have the same id or file name", where=path)
    return CocoFile(found, ("background", *(categories[id_] for id_ in order)), crowds)


def _in_order(ids: Iterable[Any]) -> list[Any]:
    """Ids in ascending order, numbers before texts."""
    return sorted(ids, key=lambda id_: (0, id_) if isinstance(id_, int | float) else (1, str(id_)))


def _area(annotation: Any, size: tuple[int, int]) -> float:
    """The area of an annotation in pixels: as it says or, if it does not, of its segmentation."""
    from pycocotools import mask

    area = annotation.get("area")
    if isinstance(area, int | float) and area > 0:
        return area
    return float(mask.area(_run_lengths(annotation["segmentation"], size)))


def _run_lengths(segmentation: Any, size: tuple[int, int]) -> Any:
    """A segmentation as compressed run lengths; `size` is (H, W) of the image."""
    from pycocotools import mask

    if isinstance(segmentation, list):
        return mask.merge(mask.frPyObjects(segmentation, *size))
    if isinstance(segmentation["counts"], list):
        return mask.frPyObjects(segmentation, *size)
    return {**segmentation, "counts": segmentation["counts"].encode()}


def _unreadable(name: str, error: Exception) -> str:
    return f"a segmentation of {name} cannot be read: {error or type(error).__name__}"


def _find(path: Path, name: str) -> Path:
    folders = [path.parent, path.parent / "images", path.with_suffix("")]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise AuditError(
        f"the image {name} is not found",
        where=path,
        remedy=f"put images next to the file or into {folders[1]}",
    )
