"""Layout and split of both editions of Trans10K."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from naslora.data.benchmarks.contract import Benchmark
from naslora.data.benchmarks.listing import Listing, Sample, folder_with, joined, pair_files
from naslora.data.benchmarks.splits import by_part

_MASK_ENDING = "_mask"


class Trans10K(Benchmark):
    """10,428 photographs of transparent objects (Xie et al., 2020), with an official split.

    The image `<place>/images/X.jpg` has the mask `<place>/<mask_folder>/X_mask.png`. Several
    folders use the same names, so an id begins with its place. Some photographs are stored rotated
    by 90 degrees with an EXIF tag, but their masks are upright.

    Attributes:
        mask_folder: name of the folders of masks.
        places: folders of pairs, with the split that each belongs to.
    """

    mask_folder: ClassVar[str]
    places: ClassVar[Mapping[str, str]]

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
                _MASK_ENDING,
                {".png"},
            )
            prefix = place.replace("/", "_")
            named = [replace(sample, id=f"{prefix}_{sample.id}") for sample in found.samples]
            listings.append(replace(found, samples=named))
        return joined(listings)

    def split(self, samples: Sequence[Sample], seed: int) -> dict[str, list[str]]:
        return by_part(samples, ("train", "val", *self.test_sets), ("val", *self.test_sets))
