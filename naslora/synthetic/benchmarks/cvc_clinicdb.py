"""Generated archive of CVC-ClinicDB."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy
from numpy.typing import NDArray
from PIL import Image

from naslora.synthetic import endoscopy
from naslora.synthetic.archive import Files, write_zip
from naslora.synthetic.encoding import tiff
from naslora.synthetic.fields import Drawing, Labels
from naslora.synthetic.streams import streams


def draw(rng: np.random.Generator) -> Drawing:
    """Draw a polyp as a frame of CVC-ClinicDB's videos shows it."""
    return endoscopy.draw_polyps(rng, endoscopy.CLINIC)


def generate(folder: Path, count: int, seed: int) -> list[Path]:
    """Write `CVC-ClinicDB/{Original,Ground Truth}/<n>.tif`."""

    def files() -> Files:
        for index, rng in enumerate(streams(seed, count), start=1):
            image, labels = draw(rng)
            original = tiff(Image.fromarray(image), "jpeg")
            truth = tiff(Image.fromarray(_overrun(image, labels)), "tiff_lzw")
            yield f"CVC-ClinicDB/Original/{index}.tif", original
            yield f"CVC-ClinicDB/Ground Truth/{index}.tif", truth

    path = folder / "CVC-ClinicDB.zip"
    write_zip(path, files(), f"generated: cvc_clinicdb, {count} images, seed {seed}")
    return [path]


def _overrun(image: NDArray[np.uint8], labels: Labels) -> NDArray[np.uint8]:
    """A mask as official ones are: an outline on the dark border takes on the border's grey."""
    grey = image.max(axis=2)
    near = scipy.ndimage.binary_dilation(labels, iterations=8) & (grey < 24)
    return np.where(near & (labels == 0), grey, labels * np.uint8(255)).astype(np.uint8)
