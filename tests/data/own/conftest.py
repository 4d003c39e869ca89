"""Small data sets in the formats that users have: discs on textured ground, 64 x 48 pixels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageDraw

SIZE = (64, 48)  # width, height
COUNT = 6
Encode = Callable[[np.ndarray], Image.Image]


def disc(index: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Where a disc lies, bool (H, W)."""
    rng = np.random.default_rng([7, index])
    y, x = np.mgrid[: size[1], : size[0]]
    centre = rng.uniform(0.3, 0.7, 2) * size
    return np.hypot(x - centre[0], y - centre[1]) < rng.uniform(6, 10)


def photograph(index: int, inside: np.ndarray) -> Image.Image:
    """Textured ground, with the disc in another tone."""
    rng = np.random.default_rng([8, index])
    ground = rng.uniform(60, 120, 3) + rng.normal(0, 14, (*inside.shape, 3))
    ground[inside] = rng.uniform(150, 220, 3)
    return Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8))


def grey(values: np.ndarray) -> Image.Image:
    return Image.fromarray(values.astype(np.uint8))


def levels(low: int, high: int) -> Encode:
    return lambda inside: grey(np.where(inside, high, low))


def palette(inside: np.ndarray, border: bool = False) -> Image.Image:
    values = inside.astype(np.uint8)
    mask = with_border(values) if border else Image.fromarray(values)
    mask = mask.convert("L")
    indexed = Image.fromarray(np.asarray(mask), "P")
    indexed.putpalette([0, 0, 0, 20, 0, 0] + [40, 40, 40] * 254)
    return indexed


def with_border(values: np.ndarray) -> Image.Image:
    """The object, and a border of void around it."""
    inside = values > 0
    near = np.zeros_like(inside)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            near |= np.roll(inside, (dy, dx), (0, 1))
    return grey(np.where(inside, values, np.where(near, 255, 0)))


def three_levels(inside: np.ndarray) -> Image.Image:
    values = np.where(inside, 254, 0)
    values[5:15, 3:12] = 127
    return grey(values).convert("RGBA")


def soft(inside: np.ndarray) -> Image.Image:
    """A disc that was drawn at four times the size and reduced."""
    rows, columns = np.nonzero(inside)
    box = [columns.min() * 4, rows.min() * 4, columns.max() * 4 + 3, rows.max() * 4 + 3]
    large = Image.new("L", (SIZE[0] * 4, SIZE[1] * 4))
    ImageDraw.Draw(large).ellipse([int(side) for side in box], fill=255)
    return large.resize(SIZE, Image.Resampling.BOX)


def colours(inside: np.ndarray) -> Image.Image:
    return Image.fromarray(np.where(inside[..., None], [255, 0, 0], [0, 0, 255]).astype(np.uint8))


def write(folder: Path, encode: Encode, count: int = COUNT, suffix: str = ".png") -> Path:
    """A folder with `images` and `masks`, one disc in each."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for index in range(count):
        inside = disc(index)
        photograph(index, inside).save(folder / "images" / f"{index}.png")
        encode(inside).save(folder / "masks" / f"{index}{suffix}")
    return folder


def coco(folder: Path, **changes: object) -> Path:
    """A COCO file: polygons, run lengths (images 0, 2, 4), the last of them a crowd."""
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for index in range(COUNT):
        inside = disc(index)
        photograph(index, inside).save(folder / "images" / f"{index}.png")
        images.append({"id": index + 1, "file_name": f"{index}.png", "height": 48, "width": 64})
        annotations.append(
            {
                "id": index + 1,
                "image_id": index + 1,
                "category_id": 7,
                "iscrowd": int(index == 4),
                "area": float(inside.sum()),
                "segmentation": run_lengths(inside) if index % 2 == 0 else outline(inside),
            }
        )
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 7, "name": "disc"}],
        **changes,
    }
    path = folder / "annotations.json"
    path.write_text(json.dumps(content))
    return path


def run_lengths(inside: np.ndarray) -> dict[str, object]:
    """Uncompressed, by columns, the background first."""
    flat = inside.T.ravel().astype(np.int8)
    changes = np.flatnonzero(np.diff(flat)) + 1
    return {"size": list(inside.shape), "counts": np.diff([0, *changes, flat.size]).tolist()}


def outline(inside: np.ndarray) -> list[list[float]]:
    rows, columns = np.nonzero(inside)
    middle = np.array([columns.mean() + 0.5, rows.mean() + 0.5])
    radius = np.sqrt(inside.sum() / np.pi)
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    points = middle + radius * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    return [points.ravel().tolist()]


@pytest.fixture(scope="session")
def own() -> SimpleNamespace:
    """The helpers above, which test modules cannot import from here."""
    return SimpleNamespace(
        COUNT=COUNT,
        SIZE=SIZE,
        disc=disc,
        photograph=photograph,
        grey=grey,
        levels=levels,
        palette=palette,
        with_border=with_border,
        three_levels=three_levels,
        soft=soft,
        colours=colours,
        write=write,
        coco=coco,
        run_lengths=run_lengths,
    )
