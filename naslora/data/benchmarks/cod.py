"""COD10K, CAMO and CHAMELEON: camouflaged objects (Fan et al., 2020; Le et al., 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from naslora.data.benchmarks.contract import Benchmark, register_benchmark
from naslora.data.benchmarks.listing import (
    Finding,
    Listing,
    Sample,
    folder_with,
    joined,
    pair_files,
)
from naslora.data.benchmarks.splits import by_part, hold_out
from naslora.data.masks import GreyMask

_VAL_SHARE = 0.1
_FOLDERS = {"camo": "CAMO", "cod10k": "COD10K", "chameleon": "CHAMELEON"}
_EMPTY = "COD10K-NonCAM-"


@register_benchmark
class Cod(Benchmark):
    """`TrainDataset/{Imgs,GT}` and `TestDataset/{CAMO,COD10K,CHAMELEON}/{Imgs,GT}`.

    Appendix B: trained on 3040 images of COD10K and 1000 of CAMO together, 10 % of them, picked at
    random, for validation; tested on 2026, 250 and the 76 of CHAMELEON. Images of COD10K without
    any camouflaged object, which some copies hold, are left out. Masks are black and white except
    for smooth outlines, and one of CAMO's is an RGB file.
    """

    name = "cod"
    title = "COD10K + CAMO"
    archives = ("cod_train", "cod_test")
    classes = ("camouflaged object",)
    test_sets = ("camo", "cod10k", "chameleon")
    metrics = (
        "S_measure",
        "E_measure",
        "weighted_F",
        "weighted_F_03",
        "E_measure_max",
        "E_measure_adaptive",
        "IoU",
    )
    # Resizing a mask smoothly makes its outline grey, and outlines are long in this set.
    masks = GreyMask(threshold=128, doubtful=0.1)
    expected = {  # noqa: RUF012
        "train": 3636,
        "val": 404,
        "camo": 250,
        "cod10k": 2026,
        "chameleon": 76,
    }

    def samples(self, root: Path) -> Listing:
        train = folder_with(root / "cod_train", "Imgs", "GT")
        test = folder_with(root / "cod_test", *_FOLDERS.values())
        listings = [_pairs(root, train, "train")]
        missing = []
        for part, name in _FOLDERS.items():
            folder = test / name
            if folder.is_dir():
                listings.append(_pairs(root, folder, part))
            else:
                missing.append(folder.relative_to(root).as_posix())
        # A reduced archive may lack a test set; the audit refuses any other.
        if missing:
            text = "folder of a test set not found"
            listings.append(Listing([], [Finding("layout", "oddity", text, missing)]))
        return joined(listings)

    def split(self, samples: Sequence[Sample], seed: int) -> dict[str, list[str]]:
        parts = by_part(samples, ("train", *self.test_sets), may_be_empty=self.test_sets)
        train, val = hold_out(parts.pop("train"), _VAL_SHARE, seed)
        return {"train": train, "val": val, **parts}


def _pairs(root: Path, folder: Path, part: str) -> Listing:
    """Pairs of a folder, without the images of COD10K that show no camouflaged object."""
    found = pair_files(root, folder / "Imgs", folder / "GT", {".jpg"}, part, mask_suffixes={".png"})
    findings = []
    for finding in found.findings:
        items = [item for item in finding.items if not Path(item).name.startswith(_EMPTY)]
        if items:
            findings.append(Finding(finding.kind, finding.severity, finding.text, items))
    left_out = {
        path.relative_to(root).as_posix(): "COD10K-NonCAM: no camouflaged object"
        for path in folder.glob(f"*/{_EMPTY}*")
    }
    kept = [sample for sample in found.samples if not sample.id.startswith(_EMPTY)]
    return Listing(kept, findings, left_out)
