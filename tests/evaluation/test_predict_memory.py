"""Memory does not grow with the number of images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image
from torch import Tensor

from naslora.evaluation.predict import PredictOptions, predict_files
from naslora.sam.mask_decoder import Prediction
from tests.evaluation.brightness import Brightness

COUNT, WIDTH, HEIGHT = 500, 320, 240


class Watched(Brightness):
    """Records the memory that is in use at each call."""

    def __init__(self) -> None:
        super().__init__()
        self.used: list[int] = []

    def forward(self, images: Tensor) -> Prediction:
        self.used.append(psutil.Process().memory_info().rss)
        return super().forward(images)


@pytest.mark.slow
def test_500_images_take_as_much_memory_as_100(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    first = tmp_path / "images" / "000.png"
    Image.fromarray(pixels).resize((WIDTH, HEIGHT), Image.Resampling.NEAREST).save(first)
    for number in range(1, COUNT):
        os.link(first, first.with_name(f"{number:03}.png"))
    sam: Any = Watched()
    options = PredictOptions(products=("mask", "probability", "overlay", "coco"), tile=0)
    written = predict_files(sam, [tmp_path / "images"], tmp_path / "masks", options)
    assert len(written) == 3 * COUNT + 1
    assert len(sam.used) == COUNT
    early, late = max(sam.used[50:100]), max(sam.used[-50:])
    # Of what is kept of an image, the mask alone is 77 kB: 400 of them would be 31 MB.
    assert late - early < 10e6, f"{(late - early) / 1e6:.1f} MB more"
