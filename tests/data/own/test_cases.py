"""Small data sets of many kinds, if available: in the folder NASLORA_CASES or in shared/cases.

This file has the expected outcome of each; the other files of this folder test the details.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from naslora.core.errors import AuditError, SettingsError
from naslora.data.dataset import SegmentationDataset
from naslora.data.masks import IGNORE
from naslora.data.own import OwnOptions, own_data
from naslora.data.own.benchmark import find_all, label_reader
from naslora.data.prepare import prepare
from naslora.own.study import FitOptions, make_study
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
    "class_colours": ("class_colours", {}, 1, "#0000ff, the most frequent, is", (0.03, 0.15)),
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


def test_every_case_has_an_outcome_here(cases: Path) -> None:
    there = {path.name for path in cases.iterdir()} - {"README.md"}
    tested = {path.partition("/")[0] for path, *_ in UNDERSTOOD.values()} | {*REFUSED}
    # The last two are below, and in tests/evaluation/test_predict_cases.py.
    assert there == tested | {"mac_kvasir-seg.zip", "predict"}


def drawn(case: str, mask: Path, image: Path) -> np.ndarray | None:
    """The labels that a case should have; None if it is checked in another way."""
    pixels = np.asarray(Image.open(mask))
    if case in ("zero_one", "palette_01", "void_255", "voc_palette_void"):
        return pixels
    if case in ("antialiased", "exif_6"):
        return (pixels >= 128).astype(np.uint8)
    if case == "class_colours":
        return (pixels[..., 0] == 255).astype(np.uint8)
    if case == "mask_of_other_size":
        (width, height), (rows, columns) = Image.open(image).size, pixels.shape
        y = ((np.arange(height) + 0.5) * rows / height).astype(int)
        x = ((np.arange(width) + 0.5) * columns / width).astype(int)
        return (pixels[y[:, None], x] > 0).astype(np.uint8)
    return None


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
        assert (labels == IGNORE).any() == (name.startswith("vo") or (name, pair.id) == CROWD)
        if name == "three levels, classes":
            levels = np.asarray(Image.open(pair.mask))[..., 0].astype(int)
            assert np.array_equal(labels, levels // 127)
        elif name == "three levels, binary":
            assert np.array_equal(labels > 0, np.asarray(Image.open(pair.mask))[..., 0] > 127)
        elif name == "coco":
            expected, crowd = disc(cases / path, pair.id)
            assert np.array_equal(labels == (IGNORE if crowd else 1), expected)
        elif (expected := drawn(path, pair.mask, pair.image)) is not None:
            assert np.array_equal(labels, expected), pair.id


CROWD = ("coco", "4")


def disc(folder: Path, stem: str) -> tuple[np.ndarray, bool]:
    """A disc as COCO's own library decodes it, and whether it is a crowd."""
    from pycocotools import mask

    content = json.loads((folder / "annotations.json").read_text())
    image = next(one for one in content["images"] if one["file_name"] == f"{stem}.png")
    one = next(one for one in content["annotations"] if one["image_id"] == image["id"])
    shape = one["segmentation"]
    if isinstance(shape, list):
        encoded = mask.merge(mask.frPyObjects(shape, image["height"], image["width"]))
    else:
        encoded = mask.frPyObjects(shape, image["height"], image["width"])
    return mask.decode(encoded).astype(bool), bool(one["iscrowd"])


def test_a_crowd_may_be_foreground(cases: Path) -> None:
    benchmark, _ = own_data(cases / "coco", OwnOptions(crowd="foreground"))
    described = benchmark.description
    pair = find_all(described.data, described.options).pairs[4]
    assert np.array_equal(label_reader(described)(pair) == 1, disc(cases / "coco", "4")[0])


@pytest.fixture
def fitted(tmp_path: Path, registries: Callable[[], None]) -> Callable[..., SimpleNamespace]:
    """The study that `fit` makes of a case, prepared."""

    def make(data: Path, **settings: object) -> SimpleNamespace:
        options = FitOptions(image_size=64, overrides={"training.accelerator": "cpu", **settings})
        out = tmp_path / "run"
        study, _ = make_study(data, out, ["lora"], [0], options, lambda line: None)
        manifest = prepare(study, study.tasks[0])
        layout = Layout.of(study)
        return SimpleNamespace(study=study, manifest=manifest, root=layout.prepared(study.tasks[0]))

    return make


def test_tiles_of_a_photograph_lie_in_one_split(cases: Path, fitted) -> None:
    found = fitted(cases / "tiles" / "pairs.csv")
    splits: dict[str, set[str]] = {}
    for sample in found.manifest.samples:
        splits.setdefault(sample.id.split("_")[0], set()).add(sample.split)
    assert len(splits) == 4
    assert all(len(one) == 1 for one in splits.values()), splits
    assert set.union(*splits.values()) == {"train", "val", "test"}


def test_tiles_without_groups_are_said_to_look_alike(
    cases: Path, fitted, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING"):
        fitted(cases / "tiles")
    assert "named alike and look alike" in caplog.text


def test_a_photograph_on_its_side_and_its_mask_coincide(cases: Path, fitted) -> None:
    found = fitted(cases / "exif_6")
    data = SegmentationDataset(found.manifest, found.root, "train", 64)
    edges = np.zeros(4)
    for index in range(len(data)):
        image, inside = data.native_image(index).astype(float), data.native_mask(index) == 1
        assert image.shape[:2] == inside.shape == (96, 128)
        steps = np.sqrt(sum(ndimage.gaussian_gradient_magnitude(c, 1) ** 2 for c in image.T)).T
        turned = [inside, inside[::-1], inside[:, ::-1], inside[::-1, ::-1]]
        edges += [steps[one ^ ndimage.binary_erosion(one)].mean() for one in turned]
    # Where the mask ends, the image has an edge; the mask in any other orientation meets none.
    assert edges[0] > 1.5 * edges[1:].max(), edges


def test_every_class_gets_a_mask_token_or_the_call_is_refused(
    cases: Path, fitted, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=r"mask_tokens is 10, but up to 14 classes"):
        fitted(cases / "fifteen_classes", **{"sam.mask_tokens": 10})
    assert not (tmp_path / "run").exists()
    assert fitted(cases / "fifteen_classes").study.sam.mask_tokens >= 14


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
