"""Generated archives of ISIC 2017: images and masks of each part separately."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from naslora.synthetic import dermoscopy
from naslora.synthetic.archive import write_zip
from naslora.synthetic.encoding import jpeg, png
from naslora.synthetic.fields import Drawing
from naslora.synthetic.streams import part_streams

_PARTS = {"train": "Training", "val": "Validation", "test": "Test_v2"}
_SHARES = {"train": 4, "val": 1, "test": 2}  # more for the test than the official 600 of 2750
# Numbers of the first drawn images; numbers of the official parts do not overlap either.
_FIRST = {"train": 0, "val": 5000, "test": 12000}


def draw(rng: np.random.Generator) -> Drawing:
    """Draw a skin lesion as a dermoscope shows it."""
    return dermoscopy.draw_lesion(rng)


def generate(folder: Path, count: int, seed: int) -> list[Path]:
    """Write six archives, with the superpixels and tables that the official ones hold too."""
    files: dict[str, dict[str, bytes]] = {n: {} for part in _PARTS for n in _archives(part)}
    rows = dict.fromkeys(_PARTS, "image_id,age_approximate,sex\n")
    number = dict(_FIRST)
    for part, rng in part_streams(seed, count, _SHARES):
        image, labels = draw(rng)
        data, masks = _archives(part)
        id_ = f"ISIC_{number[part]:07}"
        number[part] += 1
        mask = Image.fromarray(labels * np.uint8(255))
        files[data][f"{data}/{id_}.jpg"] = jpeg(Image.fromarray(image), 92)
        files[data][f"{data}/{id_}_superpixels.png"] = png(_cells(labels.shape))
        files[masks][f"{masks}/{id_}_segmentation.png"] = png(mask)
        rows[part] += f"{id_},unknown,unknown\n"
    for part, table in rows.items():
        data, _ = _archives(part)
        files[data][f"{data}/{data}_metadata.csv"] = table.encode()
    mark = f"generated: isic2017, {count} images, seed {seed}"
    for name, content in files.items():
        write_zip(folder / f"{name}.zip", iter(content.items()), mark)
    return [folder / f"{name}.zip" for name in files]


def _archives(part: str) -> tuple[str, str]:
    """Names of a part's archives, which are also those of the folders in them."""
    return f"ISIC-2017_{_PARTS[part]}_Data", f"ISIC-2017_{_PARTS[part]}_Part1_GroundTruth"


def _cells(shape: tuple[int, ...]) -> Image.Image:
    """Numbers of cells of 12 x 12 pixels, counted from 0, in base 256 as red, green and blue."""
    rows, columns = np.indices(shape) // 12
    number = rows * (shape[1] // 12 + 1) + columns
    digits = np.stack([number % 256, number // 256, np.zeros_like(number)], axis=2)
    return Image.fromarray(digits.astype(np.uint8))
