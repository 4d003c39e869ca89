"""SBU: cast shadows in photographs (Vicente et al., 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from naslora.data.benchmarks.contract import (
    Benchmark,
    Listing,
    Sample,
    folder_with,
    joined,
    pair_files,
    register_benchmark,
)
from naslora.data.benchmarks.splits import by_part, hold_out
from naslora.data.masks import GreyMask, Labels
from naslora.synthetic import generator, shadows

_VAL_SHARE = 0.1
_FOLDERS = {"train": "SBUTrain4KRecoveredSmall", "test": "SBU-Test"}
# How generated images are shared out: more for the test than the official 638 of 4723.
_SHARES = {"train": 3, "test": 1}
_SMOOTHED_EVERY = 6


@register_benchmark
class Sbu(Benchmark):
    """`SBU-shadow/{SBUTrain4KRecoveredSmall,SBU-Test}/{ShadowImages/*.jpg,ShadowMasks/*.png}`.

    Appendix B: 4085 images for training, 10 % of them, picked at random, for validation, and 638
    for testing. The photographs are from many sources, and nothing keeps their names apart, so an
    id is the part and the file's stem. Some masks have grey outlines.
    """

    name = "sbu"
    title = "SBU"
    archives = ("sbu_shadow",)
    classes = ("shadow",)
    metrics = ("BER", "BER_image", "IoU")
    # In a sample of 50, six masks have grey outlines of up to 0.4 % of the pixels. The outlines of
    # a tree's shadow are long: once resized, they would be grey in 9 % of a small image.
    masks = GreyMask(threshold=128, doubtful=0.1)
    expected = {"train": 3676, "val": 409, "test": 638}  # noqa: RUF012

    def samples(self, root: Path) -> Listing:
        found = []
        place = folder_with(root / "sbu_shadow", *_FOLDERS.values())
        for part, name in _FOLDERS.items():
            images, masks = place / name / "ShadowImages", place / name / "ShadowMasks"
            pairs = pair_files(root, images, masks, {".jpg"}, part, mask_suffixes={".png"})
            named = [replace(sample, id=f"{part}_{sample.id}") for sample in pairs.samples]
            found.append(replace(pairs, samples=named))
        return joined(found)

    def split(self, samples: Sequence[Sample], seed: int) -> dict[str, list[str]]:
        parts = by_part(samples, ("train", "test"))
        train, val = hold_out(parts["train"], _VAL_SHARE, seed)
        return {"train": train, "val": val, "test": parts["test"]}

    def draw(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], Labels]:
        return shadows.draw_shadows(rng)

    def generate(self, folder: Path, count: int, seed: int) -> list[Path]:
        def files() -> generator.Files:
            numbers = dict.fromkeys(_SHARES, 0)
            for part, rng in generator.part_streams(seed, count, _SHARES):
                numbers[part] += 1
                image, labels = self.draw(rng)
                mask = Image.fromarray(labels * np.uint8(255))
                if numbers[part] % _SMOOTHED_EVERY == 0:
                    mask = mask.filter(ImageFilter.GaussianBlur(0.3))
                place = f"SBU-shadow/{_FOLDERS[part]}"
                stem = f"lssd{numbers[part]}"
                yield (
                    f"{place}/ShadowImages/{stem}.jpg",
                    generator.jpeg(Image.fromarray(image), 90),
                )
                yield f"{place}/ShadowMasks/{stem}.png", generator.png(mask)

        path = folder / "SBU-shadow.zip"
        generator.write_zip(path, files(), f"generated: sbu, {count} images, seed {seed}")
        return [path]
