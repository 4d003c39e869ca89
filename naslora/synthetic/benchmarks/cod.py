"""Generated archives of COD10K, CAMO and CHAMELEON."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from naslora.synthetic import camouflage
from naslora.synthetic.archive import Files, write_zip
from naslora.synthetic.encoding import jpeg, png
from naslora.synthetic.fields import Drawing
from naslora.synthetic.streams import part_streams, streams

_FOLDERS = {"camo": "CAMO", "cod10k": "COD10K", "chameleon": "CHAMELEON"}
_EMPTY = "COD10K-NonCAM-"
# The official proportions would leave CHAMELEON next to none.
_SHARES = {"train_cod10k": 3, "train_camo": 2, "camo": 1, "cod10k": 1, "chameleon": 1}
_NUMBER_OF_EMPTY = len(_SHARES)
_KINDS = ("1-Aquatic-3-Crab", "2-Terrestrial-23-Cat", "3-Flying-53-Bird", "4-Amphibian-67-Frog")


def draw(rng: np.random.Generator) -> Drawing:
    """Draw a camouflaged animal."""
    return camouflage.draw_camouflage(rng)


def generate(folder: Path, count: int, seed: int) -> list[Path]:
    """Write `TrainDataset/{Imgs,GT}` and `TestDataset/{CAMO,COD10K,CHAMELEON}/{Imgs,GT}`.

    One mask of CAMO is an RGB file, and the training set has images without any animal, as some
    copies of the official one do.
    """
    files = dict(_files(count, seed))
    paths = []
    for name in ("TrainDataset", "TestDataset"):
        inside = ((path, data) for path, data in files.items() if path.startswith(name))
        write_zip(folder / f"{name}.zip", inside, f"generated: cod, {count} images, seed {seed}")
        paths.append(folder / f"{name}.zip")
    return paths


def _files(count: int, seed: int) -> Files:
    numbers = dict.fromkeys(_SHARES, 0)
    for part, rng in part_streams(seed, count, _SHARES):
        image, labels = draw(rng)
        mask = Image.fromarray(labels * np.uint8(255))
        if part == "train_camo" and numbers[part] == 0:
            mask = mask.convert("RGB")
        yield from _pair(part, _stem(part, numbers[part]), image, mask)
        numbers[part] += 1
    for number, rng in enumerate(streams(seed, 1 + count // 20, _NUMBER_OF_EMPTY)):
        image = camouflage.draw_ground(rng)
        mask = Image.new("L", image.shape[1::-1])
        yield from _pair("train", f"{_EMPTY}5-Background-5-Vegetation-{number}", image, mask)


def _stem(part: str, number: int) -> str:
    """The name of a generated file, in the spelling of its data set, distinct over all parts."""
    if part == "chameleon":
        return f"animal-{number + 1}"
    number = 2 * number + 1 + (not part.startswith("train"))
    if "camo" in part:
        return f"camourflage_{number:05}"
    return f"COD10K-CAM-{_KINDS[number // 2 % len(_KINDS)]}-{number}"


def _pair(
    part: str, stem: str, image: NDArray[np.uint8], mask: Image.Image
) -> Iterator[tuple[str, bytes]]:
    folder = "TrainDataset" if part.startswith("train") else f"TestDataset/{_FOLDERS[part]}"
    yield f"{folder}/Imgs/{stem}.jpg", jpeg(Image.fromarray(image), 90)
    yield f"{folder}/GT/{stem}.png", png(mask)
