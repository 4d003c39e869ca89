"""Generated archive of SBU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from naslora.synthetic import shadows
from naslora.synthetic.archive import Files, write_zip
from naslora.synthetic.encoding import jpeg, png
from naslora.synthetic.fields import Drawing
from naslora.synthetic.streams import part_streams

_FOLDERS = {"train": "SBUTrain4KRecoveredSmall", "test": "SBU-Test"}
_SHARES = {"train": 3, "test": 1}  # more for the test than the official 638 of 4723
_SMOOTHED_EVERY = 6


def draw(rng: np.random.Generator) -> Drawing:
    """Draw a scene with cast shadows."""
    return shadows.draw_shadows(rng)


def generate(folder: Path, count: int, seed: int) -> list[Path]:
    """Write `SBU-shadow/<part>/{ShadowImages/*.jpg,ShadowMasks/*.png}`, some outlines grey."""

    def files() -> Files:
        numbers = dict.fromkeys(_SHARES, 0)
        for part, rng in part_streams(seed, count, _SHARES):
            numbers[part] += 1
            image, labels = draw(rng)
            mask = Image.fromarray(labels * np.uint8(255))
            if numbers[part] % _SMOOTHED_EVERY == 0:
                mask = mask.filter(ImageFilter.GaussianBlur(0.3))
            place = f"SBU-shadow/{_FOLDERS[part]}"
            stem = f"lssd{numbers[part]}"
            yield f"{place}/ShadowImages/{stem}.jpg", jpeg(Image.fromarray(image), 90)
            yield f"{place}/ShadowMasks/{stem}.png", png(mask)

    path = folder / "SBU-shadow.zip"
    write_zip(path, files(), f"generated: sbu, {count} images, seed {seed}")
    return [path]
