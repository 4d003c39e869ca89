"""Generated archive of Kvasir-SEG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from naslora.synthetic import endoscopy
from naslora.synthetic.archive import Files, write_zip
from naslora.synthetic.encoding import jpeg
from naslora.synthetic.fields import Drawing
from naslora.synthetic.streams import streams

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"


def draw(rng: np.random.Generator) -> Drawing:
    """Draw a polyp as Kvasir-SEG's endoscopes show it."""
    return endoscopy.draw_polyps(rng, endoscopy.KVASIR)


def generate(folder: Path, count: int, seed: int) -> list[Path]:
    """Write `Kvasir-SEG/{images,masks}/<id>.jpg`; masks are JPEG files with grey values."""

    def files() -> Files:
        for rng in streams(seed, count):
            image, labels = draw(rng)
            id_ = "cju" + "".join(rng.choice(list(_ALPHABET), 22))
            mask = Image.fromarray(labels * np.uint8(255)).convert("RGB")
            yield f"Kvasir-SEG/images/{id_}.jpg", jpeg(Image.fromarray(image), 92)
            yield f"Kvasir-SEG/masks/{id_}.jpg", jpeg(mask, 90)

    path = folder / "kvasir-seg.zip"
    write_zip(path, files(), f"generated: kvasir, {count} images, seed {seed}")
    return [path]
