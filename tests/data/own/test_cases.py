"""Small inputs of many kinds, where they are: the folder of NASLORA_CASES, or shared/cases.

Each has its outcome here; what they are made of is tested in the other files of this folder.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from naslora.core.errors import AuditError
from naslora.data.masks import IGNORE
from naslora.data.own import OwnOptions, own_data
from naslora.data.own.benchmark import find_all, label_reader
from naslora.data.prepare import prepare
from naslora.study.layout import Layout

ROOT = Path(__file__).parents[3]
PLACES = [Path(os.environ.get("NASLORA_CASES", ROOT.parent / "shared" / "cases"))]
PLACES += [ROOT.parents[1] / "shared" / "cases"]

UNDERSTOOD = {
    # path, options: classes, what the console says, bounds of the foreground's share
    "zero_one": ("zero_one", {}, 1, "levels 0 and 1", (0.03, 0.15)),
    "palette_01": ("palette_01", {}, 1, "palette indices 0 and 1", (0.03, 0.15)),
    "void_255": ("void_255", {}, 1, "255 is void", (0.03, 0.15)),
    "void_255, told": ("void_255", {"ignore": 255}, 1, "255 is void", (0.03, 0.15)),
    "voc_palette_void": ("voc_palette_void", {}, 1, "255 is void", (0.03, 0.15)),
    "three levels, classes": (
        "three_levels_rgba",
        {"classes": "background,a,b"},
        3,
        "0 background, 127 a, 254 b",
        (0.05, 0.3),
    ),
    "three levels, binary": (
        "three_levels_rgba",
        {"mask_values": "128-254=disc"},
        1,
        "--mask-values",
        (0.03, 0.15),
    ),
    "antialiased": ("antialiased", {}, 1, r"soft edges: \d\.\d%", (0.03, 0.15)),
    "class_colours": ("class_colours", {}, 1, "#0000ff, the commonest, is the ba", (0.03, 0.15)),
    "other size": (
        "mask_of_other_size",
        {"resize_masks": True},
        1,
        "resized, by nearest neighbour",
        (0.02, 0.15),
    ),
    "fifteen_classes": ("fifteen_classes", {}, 16, "at most 14 classes", (0.1, 0.9)),
    "tiles": ("tiles/pairs.csv", {}, 1, "with the 4 groups kept together", (0.0, 0.5)),
    "exif_6": ("exif_6", {}, 1, "0 and 255", (0.03, 0.15)),
    "coco": ("coco", {}, 1, "1 annotations are crowds; they are void", (0.0, 0.15)),
}
REFUSED = {
    "three_levels_rgba": r"0 \(.*\), 127 \(.*\), 254 (.|\n)*--classes (.|\n)*--mask-values",
    "mask_of_other_size": r"102x77, image 128x96(.|\n)*--resize-masks",
    "all_empty": "no mask has any foreground",
}


@pytest.fixture
def cases() -> Path:
    found = next((path for path in PLACES if path.is_dir()), None)
    if found is None:
        pytest.skip("no folder of cases; set NASLORA_CASES to it")
    return found


@pytest.mark.parametrize("name", UNDERSTOOD)
def test_understood(name: str, cases: Path) -> None:
    path, options, classes, says, (least, most) = UNDERSTOOD[name]
    benchmark, lines = own_data(cases / path, OwnOptions(**options))
    assert len(benchmark.classes) == classes
    assert re.search(says, "\n".join(lines)), lines
    described = benchmark.description
    read = label_reader(described)
    for pair in find_all(described.data, described.options).pairs:
        labels = read(pair)
        counted = labels[labels != IGNORE]
        assert least <= (counted > 0).mean() <= most, pair.id
        if name.startswith("vo"):
            assert (labels == IGNORE).any()
            assert np.array_equal(labels, np.asarray(Image.open(pair.mask)))


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, cases: Path) -> None:
    with pytest.raises(AuditError, match=REFUSED[name]):
        own_data(cases / name)


def test_what_a_mac_adds_to_an_archive(cases: Path, study, config) -> None:
    (study.archives / "kvasir-seg.zip").symlink_to(cases / "mac_kvasir-seg.zip")
    manifest = prepare(study, "kvasir", config())
    assert len(manifest.samples) == 12
    text = Layout.of(study).audit("kvasir").with_suffix(".md").read_text()
    assert text.count("__MACOSX") == 1
    assert re.search(r"files that macOS adds .*, ignored \(1\): \d+ in kvasir-seg\.zip", text)
