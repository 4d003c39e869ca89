"""What the two editions of Trans10K share: layout, split, classes' kinds, and the generator."""

from __future__ import annotations

import io
from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

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
)
from naslora.data.benchmarks.splits import by_part
from naslora.data.masks import Labels
from naslora.synthetic import generator
from naslora.synthetic.glass import KINDS, draw_glass

MASK_ENDING = "_mask"
# Vessels, and the eyeglass, are things; what closes a room or a case is stuff (Trans2Seg, sec. 3).
THINGS = ("jar or tank", "eyeglass", "cup", "glass bowl", "water bottle")
_ORIENTATION = 0x0112  # EXIF tag
# Its values, and how pixels are stored turned, so that the tag turns them back.
_TURNS = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
_EVERY_TURNED = 6


class Trans10K(Benchmark):
    """10,428 photographs of transparent objects (Xie et al., 2020), officially split.

    The image `<place>/images/X.jpg` has the mask `<place>/<mask_folder>/X_mask.png`. A name says
    nothing of its folder, so an id begins with its place. Some photographs are stored turned by 90
    degrees with an EXIF tag that says so, and their masks upright.

    Attributes:
        folder: the folder that the generated archive begins with.
        mask_folder: name of the folders of masks.
        places: folders of pairs, with the split that each belongs to.
        portions: by place, the share of generated images that it gets.
    """

    folder: ClassVar[str]
    mask_folder: ClassVar[str]
    places: ClassVar[Mapping[str, str]]
    portions: ClassVar[Mapping[str, int]]

    @abstractmethod
    def encode_mask(self, labels: Labels) -> Image.Image:
        """The mask as the official archive stores it, of labels as `draw` makes them."""

    @abstractmethod
    def own_labels(self, kinds: Labels) -> Labels:
        """Labels of this edition; `naslora.synthetic.glass.KINDS` numbers kinds from 1."""

    def samples(self, root: Path) -> Listing:
        patterns = [f"{place}/images" for place in self.places]
        home = folder_with(root / self.archives[0], *patterns)
        listings = []
        for place, part in self.places.items():
            found = pair_files(
                root,
                home / place / "images",
                home / place / self.mask_folder,
                {".jpg"},
                part,
                MASK_ENDING,
                {".png"},
            )
            prefix = place.replace("/", "_")
            named = [replace(sample, id=f"{prefix}_{sample.id}") for sample in found.samples]
            listings.append(replace(found, samples=named))
        return joined(listings)

    def split(self, samples: Sequence[Sample], seed: int) -> dict[str, list[str]]:
        return by_part(samples, ("train", "val", *self.test_sets), ("val", *self.test_sets))

    def draw(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], Labels]:
        image, kinds = draw_glass(rng)
        return image, self.own_labels(kinds)

    def generate(self, folder: Path, count: int, seed: int) -> list[Path]:
        path = folder / f"{self.folder}.zip"
        mark = f"generated: {self.name}, {count} images, seed {seed}"
        generator.write_zip(path, self._files(count, seed), mark)
        return [path]

    def _files(self, count: int, seed: int) -> generator.Files:
        drawn: Counter[str] = Counter()
        for place, rng in generator.part_streams(seed, count, self.portions):
            index = drawn[place]
            drawn[place] += 1
            # Every kind comes round in every place, the tests' too.
            image, kinds = draw_glass(rng, KINDS[index % len(KINDS)], hard=place.endswith("hard"))
            mask = self.encode_mask(self.own_labels(kinds))
            where, name = f"{self.folder}/{place}", str(index + 1)
            orientation = 1
            if index % _EVERY_TURNED == 2:
                orientation = (6, 8)[index // _EVERY_TURNED % 2]
            yield f"{where}/images/{name}.jpg", _photograph(image, orientation)
            mask_name = f"{where}/{self.mask_folder}/{name}{MASK_ENDING}.png"
            yield mask_name, generator.png(mask)


def _photograph(pixels: NDArray[np.uint8], orientation: int) -> bytes:
    """A JPEG file as a camera writes it that was held upright (1) or turned (6, 8)."""
    image = Image.fromarray(pixels)
    if orientation == 1:
        return generator.jpeg(image, 92)
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    buffer = io.BytesIO()
    image.transpose(_TURNS[orientation]).save(buffer, "JPEG", quality=92, exif=exif)
    return buffer.getvalue()
