"""A small folder of images and masks to try the commands on."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from naslora.core.errors import SettingsError
from naslora.core.files import whole_file
from naslora.data.benchmarks.contract import get_benchmark
from naslora.data.generated import drawing_of
from naslora.synthetic.streams import streams

_SEED = 77


def write_example(folder: Path, task: str = "leaf", count: int = 60) -> list[Path]:
    """Draw images in the style of a benchmark, and their masks, into `images/` and `masks/`.

    Args:
        folder: a new or empty folder.
        task: a benchmark. Masks hold 0 and 255 for a binary one, else class numbers.
        count: number of images.

    Returns:
        The images.

    Raises:
        SettingsError: there is no such benchmark, or the folder is not empty.
        DiskError: the folder cannot be written to.
    """
    benchmark = get_benchmark(task)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingsError(
            "this folder is not empty",
            where=folder.absolute(),
            remedy="choose a new or an empty one",
        )
    draw = drawing_of(benchmark)
    written = []
    for index, rng in enumerate(streams(_SEED, count)):
        pixels, labels = draw(rng)
        if len(benchmark.classes) == 1:
            labels = labels * 255
        image, mask = folder / "images" / f"{index:03}.jpg", folder / "masks" / f"{index:03}.png"
        with whole_file(image) as temporary:
            Image.fromarray(pixels).save(temporary, "JPEG", quality=92)
        with whole_file(mask) as temporary:
            Image.fromarray(labels).save(temporary, "PNG")
        written.append(image)
    return written
