"""Generated archive of Massachusetts Roads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from naslora.synthetic import aerial
from naslora.synthetic.archive import Files, write_zip
from naslora.synthetic.encoding import tiff
from naslora.synthetic.fields import Drawing
from naslora.synthetic.streams import part_streams

_PARTS = ("train", "val", "test")
# Of the 63 official images that are not for training, 14 are for validation.
_SHARES = {"train": 6, "val": 1, "test": 2}
_CLASSES = "name,r,g,b\nbackground,0,0,0\nroad,255,255,255\n"


def draw(rng: np.random.Generator) -> Drawing:
    """Draw an aerial image with roads."""
    return aerial.draw_roads(rng)


def generate(folder: Path, count: int, seed: int) -> list[Path]:
    """Write `tiff/{train,val,test}/*.tiff`, their labels and the tables of Kaggle's archive."""
    path = folder / "massachusetts-roads.zip"
    write_zip(path, _files(count, seed), f"generated: road, {count} images, seed {seed}")
    return [path]


def _files(count: int, seed: int) -> Files:
    table = ["image_id,split,tiff_image_path,tif_label_path"]
    numbers = dict.fromkeys(_SHARES, 0)
    for part, rng in part_streams(seed, count, _SHARES):
        image, labels = draw(rng)
        stem = _tile(part, numbers[part])
        numbers[part] += 1
        picture, mask = f"tiff/{part}/{stem}.tiff", f"tiff/{part}_labels/{stem}.tif"
        table.append(f"{stem},{part},{picture},{mask}")
        yield picture, tiff(Image.fromarray(image), "jpeg")
        yield mask, tiff(Image.fromarray(labels * np.uint8(255)), "tiff_lzw")
    yield "metadata.csv", "\n".join([*table, ""]).encode()
    yield "label_class_dict.csv", _CLASSES.encode()


def _tile(part: str, number: int) -> str:
    """The name of a generated tile: its place east and north in units of 100 m, 15 to a tile."""
    east, north = divmod(number, 60)
    column = len(_PARTS) * east + _PARTS.index(part)
    return f"{1007 + 15 * column:04}{8495 + 15 * north:04}_15"
