"""Kvasir-SEG: polyps in colonoscopy images (Jha et al., 2020)."""

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
    pair_files,
    register_benchmark,
)
from naslora.data.benchmarks.splits import hold_out
from naslora.data.masks import GreyMask, Labels
from naslora.synthetic import endoscopy, generator

_TEST_SHARE = 0.1
_VAL_SHARE = 0.2
_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"


@register_benchmark
class Kvasir(Benchmark):
    """1000 pairs `Kvasir-SEG/{images,masks}/<id>.jpg`, without an official split.

    Appendix B: 90 % for training and 10 % for testing, with 20 % of the training set used for
    validation. Masks are JPEG files with grey values beside 0 and 255, thresholded at 128.
    """

    name = "kvasir"
    title = "Kvasir"
    archives = ("kvasir_seg",)
    classes = ("polyp",)
    metrics = ("S_measure", "E_measure", "weighted_F", "IoU", "Dice")
    masks = GreyMask(threshold=128)
    expected = {"train": 720, "val": 180, "test": 100}  # noqa: RUF012

    def samples(self, root: Path) -> Listing:
        folder = root / "kvasir_seg" / "Kvasir-SEG"
        return pair_files(root, folder / "images", folder / "masks", {".jpg"})

    def split(self, samples: Sequence[Sample], seed: int) -> dict[str, list[str]]:
        rest, test = hold_out((sample.id for sample in samples), _TEST_SHARE, seed)
        train, val = hold_out(rest, _VAL_SHARE, seed)
        return {"train": train, "val": val, "test": test}

    def draw(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], Labels]:
        return endoscopy.draw_polyps(rng, endoscopy.KVASIR)

    def generate(self, folder: Path, count: int, seed: int) -> list[Path]:
        def files() -> generator.Files:
            for rng in generator.streams(seed, count):
                image, labels = self.draw(rng)
                id_ = "cju" + "".join(rng.choice(list(_ALPHABET), 22))
                mask = Image.fromarray(labels * np.uint8(255)).convert("RGB")
                yield f"Kvasir-SEG/images/{id_}.jpg", generator.jpeg(Image.fromarray(image), 92)
                yield f"Kvasir-SEG/masks/{id_}.jpg", generator.jpeg(mask, 90)

        path = folder / "kvasir-seg.zip"
        generator.write_zip(path, files(), f"generated: kvasir, {count} images, seed {seed}")
        return [path]
