"""Generated archives of a study's tasks, so that the pipeline runs without real images.

A benchmark with a generator in `naslora.synthetic.benchmarks` gets images in its own look. For any
other, blobs of its classes are drawn and stored in its `layout` and its mask encoding, so that the
same code prepares them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from naslora.core.errors import SettingsError
from naslora.data.archives.catalogue import load_archives
from naslora.data.benchmarks.contract import Benchmark, get_benchmark
from naslora.study.layout import Layout
from naslora.study.settings import CONFIG_FOLDER, Study
from naslora.synthetic.archive import write_zip
from naslora.synthetic.blobs import draw_blobs
from naslora.synthetic.encoding import encoded, jpeg
from naslora.synthetic.fields import Drawing
from naslora.synthetic.generators import find_generator
from naslora.synthetic.streams import part_streams

_SEED = 1_000_003


def generate_archives(study: Study, task: str, config: Path = CONFIG_FOLDER) -> list[Path]:
    """Generate the archives of a task that the study lists in `generated`.

    The same study gives the same bytes; archives that hold them already are not touched. The
    comment of each zip file says that it is generated.

    Raises:
        SettingsError: the study generates no such task, no such benchmark exists, or it has
            neither a generator nor a layout.
        DiskError: the folder cannot be written to.
    """
    if task not in study.generated:
        raise SettingsError(
            f"study {study.study} generates no images for {task}",
            remedy=f"set generated.{task} to a number of images",
        )
    benchmark, count = get_benchmark(task), study.generated[task]
    folder = Layout.of(study).archives / task
    if generator := find_generator(task):
        return generator.generate(folder, count, _SEED)
    known = load_archives(config)
    names = {key: known[key].file for key in benchmark.archives if key in known}
    return generate_blobs(benchmark, names, folder, count, _SEED)


def drawing_of(benchmark: Benchmark) -> Callable[[np.random.Generator], Drawing]:
    """The function that draws images of a benchmark."""
    if generator := find_generator(benchmark.name):
        return generator.draw
    classes = max(len(benchmark.classes) - 1, 1)
    return lambda rng: draw_blobs(rng, classes)


def generate_blobs(
    benchmark: Benchmark, names: Mapping[str, str], folder: Path, count: int, seed: int
) -> list[Path]:
    """Write drawn blobs as the archives of a benchmark that declares its `layout`.

    Args:
        benchmark: the benchmark.
        names: key to file name of its archives.
        folder: where the archives go.
        count: number of pairs, divided among the parts of the layout in proportion to `expected`.
        seed: seed of the images.

    Raises:
        SettingsError: the benchmark declares no layout.
        DiskError: the folder cannot be written to.
    """
    if not benchmark.layout:
        raise SettingsError(
            f"no images can be generated for {benchmark.name}: its class declares no layout",
            remedy="declare `layout` in the class (see CONTRIBUTING.md), or take the task out of "
            "`generated` and use its real archives",
        )
    draw = drawing_of(benchmark)
    numbered = {str(index): pairs for index, pairs in enumerate(benchmark.layout)}
    sizes = {key: benchmark.expected.get(pairs.part or "", 1) for key, pairs in numbered.items()}
    files: dict[str, dict[str, bytes]] = {key: {} for key in names}
    for index, (key, rng) in enumerate(part_streams(seed, count, sizes)):
        pairs = numbered[key]
        image, labels = draw(rng)
        content = files[pairs.archive or benchmark.archives[0]]
        picture, mask = pairs.names(f"{index:05}")
        content[picture] = _file(Image.fromarray(image), picture)
        content[mask] = _file(benchmark.masks.encode(labels), mask)
    mark = f"generated: {benchmark.name}, {count} images, seed {seed}"
    for key, content in files.items():
        write_zip(folder / names[key], iter(content.items()), mark)
    return [folder / names[key] for key in files]


def _file(image: Image.Image, name: str) -> bytes:
    """An image in the format that a file's suffix names."""
    kind = Image.registered_extensions()[Path(name).suffix.lower()]
    return jpeg(image, 92) if kind == "JPEG" else encoded(image, kind)
