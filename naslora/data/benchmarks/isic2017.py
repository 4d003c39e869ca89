"""ISIC 2017: skin lesions in dermoscopy images (Codella et al., 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from naslora.data.benchmarks.contract import (
    Benchmark,
    Listing,
    Sample,
    folder_with,
    joined,
    pair_files,
    register_benchmark,
)
from naslora.data.benchmarks.splits import by_part
from naslora.data.masks import GreyMask, Labels
from naslora.synthetic import dermoscopy, generator

_PARTS = {"train": "Training", "val": "Validation", "test": "Test_v2"}
# Numbers of the first drawn images; numbers of the official parts do not overlap either.
_FIRST = {"train": 0, "val": 5000, "test": 12000}
_LEFT_OUT = {
    "*_superpixels.png": "superpixels, for another task of the challenge",
    "*.csv": "age and sex of the patients",
}


def _archives(part: str) -> tuple[str, str]:
    """Names of a part's archives, which are also those of the folders in them."""
    return f"ISIC-2017_{_PARTS[part]}_Data", f"ISIC-2017_{_PARTS[part]}_Part1_GroundTruth"


@register_benchmark
class ISIC2017(Benchmark):
    """Pairs `ISIC_<n>.jpg`, `ISIC_<n>_segmentation.png` in two archives for each official part.

    Appendix B: 2000 for training, 150 for validation and 600 for testing, which are the official
    parts. The archives of images also hold superpixels and a table, which are left out.
    """

    name = "isic2017"
    title = "ISIC 2017"
    archives = (
        "isic2017_train_data",
        "isic2017_train_masks",
        "isic2017_val_data",
        "isic2017_val_masks",
        "isic2017_test_data",
        "isic2017_test_masks",
    )
    classes = ("lesion",)
    metrics = ("IoU", "T_Jac", "Dice", "Acc")
    masks = GreyMask(threshold=128)
    expected = {"train": 2000, "val": 150, "test": 600}  # noqa: RUF012

    def samples(self, root: Path) -> Listing:
        found: list[Listing] = []
        for part in _PARTS:
            images = folder_with(root / f"isic2017_{part}_data", "ISIC_*.jpg")
            masks = folder_with(root / f"isic2017_{part}_masks", "ISIC_*_segmentation.png")
            pairs = pair_files(
                root, images, masks, {".jpg"}, part, "_segmentation", mask_suffixes={".png"}
            )
            left_out = {
                path.relative_to(root).as_posix(): why
                for pattern, why in _LEFT_OUT.items()
                for path in images.glob(pattern)
            }
            found.append(Listing(pairs.samples, pairs.findings, left_out))
        return joined(found)

    def split(self, samples: Sequence[Sample], seed: int) -> dict[str, list[str]]:
        return by_part(samples, tuple(_PARTS))

    def draw(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], Labels]:
        return dermoscopy.draw_lesion(rng)

    def generate(self, folder: Path, count: int, seed: int) -> list[Path]:
        files: dict[str, dict[str, bytes]] = {n: {} for part in _PARTS for n in _archives(part)}
        rows = dict.fromkeys(_PARTS, "image_id,age_approximate,sex\n")
        number = dict(_FIRST)
        for part, rng in generator.part_streams(seed, count, self.expected):
            image, labels = self.draw(rng)
            data, masks = _archives(part)
            id_ = f"ISIC_{number[part]:07}"
            number[part] += 1
            mask = Image.fromarray(labels * np.uint8(255))
            files[data][f"{data}/{id_}.jpg"] = generator.jpeg(Image.fromarray(image), 92)
            files[data][f"{data}/{id_}_superpixels.png"] = generator.png(_cells(labels.shape))
            files[masks][f"{masks}/{id_}_segmentation.png"] = generator.png(mask)
            rows[part] += f"{id_},unknown,unknown\n"
        for part, table in rows.items():
            data, _ = _archives(part)
            files[data][f"{data}/{data}_metadata.csv"] = table.encode()
        mark = f"generated: isic2017, {count} images, seed {seed}"
        for name, content in files.items():
            generator.write_zip(folder / f"{name}.zip", iter(content.items()), mark)
        return [folder / f"{name}.zip" for name in files]


def _cells(shape: tuple[int, ...]) -> Image.Image:
    """Numbers of cells of 12 x 12 pixels, counted from 0, in base 256 as red, green and blue."""
    rows, columns = np.indices(shape) // 12
    number = rows * (shape[1] // 12 + 1) + columns
    digits = np.stack([number % 256, number // 256, np.zeros_like(number)], axis=2)
    return Image.fromarray(digits.astype(np.uint8))
