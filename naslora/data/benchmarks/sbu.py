"""SBU: cast shadows in photographs (Vicente et al., 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from naslora.data.benchmarks.contract import Benchmark, register_benchmark
from naslora.data.benchmarks.listing import Listing, Sample, folder_with, joined, pair_files
from naslora.data.benchmarks.splits import by_part, hold_out
from naslora.data.masks import GreyMask

_VAL_SHARE = 0.1
_FOLDERS = {"train": "SBUTrain4KRecoveredSmall", "test": "SBU-Test"}


@register_benchmark
class Sbu(Benchmark):
    """`SBU-shadow/{SBUTrain4KRecoveredSmall,SBU-Test}/{ShadowImages/*.jpg,ShadowMasks/*.png}`.

    Appendix B: 4085 images for training, 10 % of them, picked at random, for validation, and 638
    for testing. Both parts may use the same file name for different photographs, so an id is the
    part and the file's stem. Some masks have grey outlines.
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
