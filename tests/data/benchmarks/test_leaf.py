from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from naslora.core.errors import AuditError
from naslora.data.benchmarks.contract import get_benchmark
from naslora.data.benchmarks.listing import Sample
from naslora.data.manifest import Manifest
from naslora.data.masks import PaletteMask
from naslora.data.prepare import prepare
from naslora.study.layout import Layout
from naslora.study.settings import Study
from naslora.synthetic.archive import generated_mark
from naslora.synthetic.generators import find_generator

LEAF = get_benchmark("leaf")
GENERATOR = find_generator("leaf")
FILE = "leaf-disease-segmentation.zip"
COUNT = 16
Files = dict[str, bytes]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return GENERATOR.generate(tmp_path_factory.mktemp("generated"), COUNT, seed=3)[0]


@pytest.fixture
def files(archive: Path, kit: SimpleNamespace) -> Files:
    return kit.unzipped(archive)


@pytest.fixture
def run(study: Study, kit: SimpleNamespace) -> Callable[[Files], Manifest]:
    """Prepares the task from an archive of these files."""

    def prepared(files: Files) -> Manifest:
        (study.archives / FILE).write_bytes(kit.zipped(files))
        return prepare(study, "leaf", kit.root / "config")

    return prepared


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_same_arguments_same_bytes(archive: Path, files: Files, kit, tmp_path: Path) -> None:
    assert GENERATOR.generate(tmp_path, COUNT, seed=3)[0].read_bytes() == archive.read_bytes()
    few = kit.unzipped(GENERATOR.generate(tmp_path, 5, seed=3)[0])
    assert few.items() < files.items(), "fewer images are the first of each part"
    other = kit.unzipped(GENERATOR.generate(tmp_path, 5, seed=4)[0])
    assert not few.items() & other.items()


def test_official_layout_and_quirks(archive: Path, files: Files) -> None:
    assert archive.name == FILE
    assert generated_mark(archive) == f"generated: leaf, {COUNT} images, seed 3"
    original = {name for name in files if name.startswith("orig_data/")}
    train = ["00000", "00001", "00002", "00003", "00004", "00006", "00007", "00008", "00009"]
    train += ["00010", "00012", "00013"]
    assert original == {
        f"orig_data/{part}_{kind}/{id_}.{suffix}"
        for part, ids in (("train", train), ("valid", ["00005", "00011", "00017", "00023"]))
        for kind, suffix in (("images", "jpg"), ("masks", "png"))
        for id_ in ids
    }
    sizes = set()
    for name in original:
        if "_masks/" in name:
            mask = opened(files[name])
            image = opened(files[name.replace("_masks/", "_images/").replace(".png", ".jpg")])
            assert (image.mode, mask.mode) == ("RGB", "P")
            assert image.size == mask.size
            assert np.unique(np.asarray(mask)).tolist() == [0, 1]
            assert mask.getpalette()[:6] == [0, 0, 0, 128, 0, 0]
            sizes.add(image.size)
    assert len(sizes) > 10, "sizes vary"
    assert any(width > height for width, height in sizes)
    assert any(width < height for width, height in sizes)


def test_diseased_parts_can_be_seen(files: Files) -> None:
    """They differ from the rest of the image in colour more than halves of it would by chance."""
    distances, shares = [], []
    for name, data in files.items():
        if name.startswith("orig_data/") and "_masks/" in name:
            inside = np.asarray(opened(data)) > 0
            image = name.replace("_masks/", "_images/").replace(".png", ".jpg")
            pixels = np.asarray(opened(files[image]), float)
            # Healthy parts next to diseased ones.
            near = np.asarray(Image.fromarray(inside).resize((6, 6)).resize(inside.shape[::-1]))
            rest = near & ~inside if (near & ~inside).any() else ~inside
            distances.append(np.abs(pixels[inside].mean(0) - pixels[rest].mean(0)).max())
            shares.append(inside.mean())
    assert np.median(distances) > 15
    assert 0.003 < min(shares) < max(shares) < 0.9
    assert max(shares) > 3 * min(shares)


def test_generated_archives_take_the_same_way(
    study: Study, kit: SimpleNamespace, files: Files, run: Callable[[Files], Manifest]
) -> None:
    generating = study.model_copy(update={"generated": {"leaf": 7}})
    manifest = prepare(generating, "leaf", kit.root / "config")
    assert manifest.generated
    assert [len(manifest.of(split)) for split in manifest.splits] == [5, 0, 2]
    manifest = run(files)
    assert not manifest.generated
    assert [len(manifest.of(split)) for split in manifest.splits] == [12, 0, 4]
    assert [sample.id for sample in manifest.of("test")] == ["00005", "00011", "00017", "00023"]


@pytest.mark.parametrize("folder", ["", "leaf_disease_segmentation/"])
def test_the_augmented_tree_is_left_out(
    folder: str, study: Study, files: Files, run: Callable[[Files], Manifest]
) -> None:
    manifest = run({folder + name: data for name, data in files.items()})
    assert len(manifest.samples) == COUNT
    assert all(f"{folder}orig_data/" in sample.image for sample in manifest.samples)
    audit = json.loads(Layout.of(study).audit("leaf").read_text())
    counts = {finding["text"]: len(finding["items"]) for finding in audit["findings"]}
    assert counts.pop("file left out: augmented copies") == 2 * COUNT
    assert "file left out: not part of the benchmark" not in counts


def test_missing_files(files: Files, run: Callable[[Files], Manifest]) -> None:
    def without(*names: str) -> Files:
        return {name: data for name, data in files.items() if not name.startswith(names)}

    with pytest.raises(AuditError, match=r"image without a mask \(1\): .*valid_images/00005\.jpg"):
        run(without("orig_data/valid_masks/00005"))
    with pytest.raises(AuditError, match=r"mask without an image \(1\): .*train_masks/00003\.png"):
        run(without("orig_data/train_images/00003"))
    with pytest.raises(AuditError, match=r"folder not found .*leaf_disease/orig_data/valid_images"):
        run(without("orig_data/valid"))
    with pytest.raises(AuditError, match=r"orig_data/train_images \(.*holds \['aug_data'\]"):
        run(without("orig_data"))


def test_an_image_in_both_parts(files: Files, run: Callable[[Files], Manifest]) -> None:
    for kind in ("images/00005.jpg", "masks/00005.png"):
        files[f"orig_data/train_{kind}"] = files[f"orig_data/valid_{kind}"]
    with pytest.raises(AuditError, match=r"id of several pairs \(1\): 00005"):
        run(files)


def test_masks_of_other_values(
    files: Files, kit: SimpleNamespace, run: Callable[[Files], Manifest]
) -> None:
    name = "orig_data/train_masks/00002.png"
    labels = np.asarray(opened(files[name]))
    wrong = {**files, name: kit.encode(labels * np.uint8(38), "PNG")}
    with pytest.raises(AuditError, match=r"00002\.png \(indices 38, where only 0 to 1 are known"):
        run(wrong)
    assert run({**files, name: kit.encode(labels, "PNG")}), "the palette means nothing"


def test_palette_masks() -> None:
    labels = np.zeros((4, 5), np.uint8)
    labels[1:3, 2:] = 1
    for mask in (Image.fromarray(labels), Image.fromarray(labels > 0)):
        decoded = PaletteMask(2).decode(mask)
        assert decoded.problem is None
        assert decoded.labels.dtype == np.uint8
        assert np.array_equal(decoded.labels, labels)
    labels[0, 0], labels[0, 1] = 2, 9
    decoded = PaletteMask(2).decode(Image.fromarray(labels))
    assert decoded.problem == "indices 2, 9, where only 0 to 1 are known"
    assert decoded.grey == pytest.approx(2 / 20)
    assert PaletteMask(10).decode(Image.fromarray(labels)).problem is None
    rgb = PaletteMask(2).decode(Image.fromarray(labels).convert("RGB"))
    assert "stored as RGB" in str(rgb.problem)


def test_official_parts_are_the_split() -> None:
    samples = [
        Sample(f"{n:05}", "i", "m", "test" if n % 6 == 5 and n < 540 else "train")
        for n in range(588)
    ]
    split = LEAF.split(samples, 0)
    assert {name: len(ids) for name, ids in split.items()} == LEAF.expected
    assert split["val"] == []
    assert split == LEAF.split(samples[::-1], 9), "without chance"
    with pytest.raises(ValueError, match="no samples for train"):
        LEAF.split([s for s in samples if s.part == "test"], 0)


def test_the_real_archive(real: Callable[[str], SimpleNamespace]) -> None:
    found = real("leaf")
    assert found.kinds <= {"counts", "unused", "near_duplicate_across", "near_duplicate_within"}
    assert found.audit["pairs"] == len(found.manifest.samples) >= 100
    assert found.manifest.of("val") == []
    statistics = found.audit["statistics"]
    assert 0.1 < statistics["foreground in the mask"]["mean"] < 0.3
    assert statistics["grey or odd values in the mask"]["most"] == 0
    blank, mean = (found.controls[f"control_{n}"].metrics["test"] for n in ("blank", "mean_mask"))
    assert set(blank) == {"IoU", "Dice", "Acc"}
    assert blank["IoU"] == 0
    assert 0.6 < blank["Acc"] < 0.95
    assert mean["IoU"] <= mean["Dice"]
