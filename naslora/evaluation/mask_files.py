"""Files that hold predictions: masks, probabilities, overlays and COCO annotations."""

from __future__ import annotations

import colorsys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from skimage.segmentation import find_boundaries

from naslora.core.files import whole_file, write_json

Product = Literal["mask", "probability", "overlay", "coco"]
COCO_NAME = "annotations.json"
_SUFFIXES = {"mask": "", "probability": "_probability", "overlay": "_overlay"}
_ROWS = 1024  # rows of an overlay that are drawn at once
_OPACITY = 0.35


def product_path(folder: Path, relative: Path, product: Product, *, geo: bool = False) -> Path:
    """The output file of one product of a page."""
    suffix = ".tif" if geo and product != "overlay" else ".png"
    return folder / relative.with_name(f"{relative.name}{_SUFFIXES[product]}{suffix}")


def write_mask(path: Path, mask: NDArray[np.uint8], classes: int, geo: list[Any]) -> None:
    """Write a mask: 0 and 255 for a binary task, else class numbers with a palette.

    Args:
        path: a .png file, or a .tif file, which keeps the tags of a GeoTIFF.
        mask: (H, W), 0 and 1, or class numbers.
        classes: 1 for a binary task.
        geo: the image's GeoTIFF tags.

    Raises:
        DiskError: the file cannot be written.
    """
    values = mask * np.uint8(255) if classes == 1 else mask
    _write(path, values, geo, palette(classes) if classes > 1 else None)


def write_grey(path: Path, values: NDArray[np.uint8], geo: list[Any]) -> None:
    """Write an 8-bit grey picture (H, W).

    Raises:
        DiskError: the file cannot be written.
    """
    _write(path, values, geo, None)


def write_overlay(
    path: Path, pixels: NDArray[np.uint8], mask: NDArray[np.uint8], classes: int
) -> None:
    """Write the image with its mask drawn on it; see `overlay`.

    Raises:
        DiskError: the file cannot be written.
    """
    with whole_file(path) as temporary:
        Image.fromarray(overlay(pixels, mask, classes)).save(temporary, "PNG")


def overlay(pixels: NDArray[np.uint8], mask: NDArray[np.uint8], classes: int) -> NDArray[np.uint8]:
    """An image (H, W, 3) with each class tinted and outlined in its colour."""
    colours = np.array(palette(max(classes, 2)), np.uint8).reshape(-1, 3)
    out = np.empty_like(pixels)
    for begin in range(0, len(mask), _ROWS):
        first, last = max(0, begin - 1), min(len(mask), begin + _ROWS + 1)
        labels, strip = mask[first:last], pixels[first:last].astype(np.float32)
        tint = colours[labels].astype(np.float32)
        inside = (labels > 0)[..., None]
        strip = np.where(inside, (1 - _OPACITY) * strip + _OPACITY * tint, strip)
        edge = find_boundaries(labels, mode="inner")
        strip[edge] = tint[edge]
        end = min(begin + _ROWS, len(mask))
        out[begin:end] = np.rint(strip[begin - first : end - first]).astype(np.uint8)
    return out


class CocoFile:
    """COCO annotations of all pictures, with masks as compressed run-length encodings."""

    def __init__(self, classes: int):
        names = ["foreground"] if classes == 1 else [f"class {i}" for i in range(1, classes)]
        self._content: dict[str, list[Any]] = {
            "images": [],
            "categories": [{"id": i, "name": name} for i, name in enumerate(names, 1)],
            "annotations": [],
        }

    def add(self, name: str, mask: NDArray[np.uint8]) -> None:
        """Add a picture and one annotation for each class in its mask (H, W)."""
        from pycocotools import mask as coco

        images, annotations = self._content["images"], self._content["annotations"]
        height, width = mask.shape
        images.append({"id": len(images) + 1, "file_name": name, "height": height, "width": width})
        for number in np.unique(mask[mask > 0]):
            encoded = coco.encode(np.asfortranarray(mask == number, np.uint8))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": len(images),
                    "category_id": int(number),
                    "segmentation": {
                        "size": [height, width],
                        "counts": encoded["counts"].decode("ascii"),
                    },
                    "area": int(coco.area(encoded)),
                    "bbox": [float(value) for value in coco.toBbox(encoded)],
                    "iscrowd": 0,
                }
            )

    def write(self, path: Path) -> None:
        """Write the file.

        Raises:
            DiskError: it cannot be written.
        """
        write_json(path, self._content)


def palette(classes: int) -> list[int]:
    """R, G, B of all classes in one list: black for the background, then well-separated hues."""
    golden = (5**0.5 - 1) / 2
    colours = [colorsys.hsv_to_rgb(i * golden % 1, 0.8, 1.0) for i in range(classes - 1)]
    return [0, 0, 0, *(round(255 * value) for colour in colours for value in colour)]


def _write(
    path: Path, values: NDArray[np.uint8], geo: list[Any], colours: list[int] | None
) -> None:
    with whole_file(path) as temporary:
        if path.suffix == ".tif":
            tifffile.imwrite(temporary, values, compression="zlib", extratags=geo, metadata=None)
            return
        picture = Image.fromarray(values)
        if colours is not None:
            picture.putpalette(colours)
        picture.save(temporary, "PNG")
