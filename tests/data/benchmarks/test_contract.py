"""The benchmark contract carries what the other sets need.

A made-up set in two archives, with official parts, two test sets, three classes in palette masks,
and files that its definition leaves out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import yaml
from PIL import Image

from naslora.core.errors import ArchiveError, AuditError, DiskError, ManifestError
from naslora.data.benchmarks.contract import BENCHMARKS, Benchmark
from naslora.data.benchmarks.listing import Finding, Listing, Sample, pair_files
from naslora.data.dataset import SegmentationDataset, mean_mask
from naslora.data.manifest import read_manifest
from naslora.data.masks import DecodedMask, GreyMask
from naslora.data.prepare import prepare
from naslora.study.layout import Layout
from naslora.study.settings import Study


class Ids:
    """Palette or grey masks that hold class ids below `count`."""

    def __init__(self, count: int):
        self.count = count

    def decode(self, mask: Image.Image) -> DecodedMask:
        labels = np.asarray(mask)
        odd = labels >= self.count
        return DecodedMask(labels, float(odd.mean()), "unknown class ids" if odd.any() else None)


class Glass(Benchmark):
    name = "glass"
    title = "Glass"
    archives = ("glass_train", "glass_test")
    classes = ("background", "cup", "door")
    test_sets = ("easy", "hard")
    metrics = ("mIoU",)
    masks = Ids(3)
    expected: ClassVar = {"train": 6, "val": 2, "easy": 3, "hard": 3}

    def samples(self, root: Path) -> Listing:
        samples: list[Sample] = []
        findings: list[Finding] = []
        left_out: dict[str, str] = {}
        for part in self.expected:
            folder = root / ("glass_train" if part in ("train", "val") else "glass_test") / part
            listing = pair_files(root, folder / "images", folder / "masks", {".jpg", ".png"}, part)
            samples += [s for s in listing.samples if "NonGlass" not in s.id]
            for sample in set(listing.samples) - set(samples):
                left_out |= dict.fromkeys((sample.image, sample.mask), "holds no glass")
            findings += listing.findings
        return Listing(samples, findings, left_out)

    def split(self, samples: Sequence[Sample], seed: int) -> dict[str, list[str]]:
        return {part: [s.id for s in samples if s.part == part] for part in self.expected}


def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    labels = np.zeros((20, 24), np.uint8)
    labels[2:9, 3:9], labels[10:18, 12:20] = 1, 2
    return rng.integers(0, 255, (20, 24, 3), np.uint8), labels


@pytest.fixture
def glass(registries, study: Study, kit: SimpleNamespace, tmp_path: Path) -> SimpleNamespace:
    """The registered benchmark, its files by archive, and a function that prepares them."""
    BENCHMARKS.register("glass", Glass())
    files: dict[str, dict[str, bytes]] = {"glass_train": {}, "glass_test": {}}
    for part, count in Glass.expected.items():
        archive = files["glass_train" if part in ("train", "val") else "glass_test"]
        for index in range(count):
            image, labels = draw(np.random.default_rng([*part.encode(), index]))
            mask = Image.fromarray(labels, "P")
            mask.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
            archive[f"{part}/images/{part}{index}.jpg"] = kit.encode(image)
            archive[f"{part}/masks/{part}{index}.png"] = kit.encode(mask, "PNG")
    config = tmp_path / "config"
    config.mkdir()
    entries = {
        key: dict(
            title="Glass", file=f"{key}.zip", access="manual", page="p", licence="l", citation="c"
        )
        for key in files
    }
    (config / "archives.yaml").write_text(yaml.safe_dump(entries))

    def run():
        for key, content in files.items():
            (study.archives / f"{key}.zip").write_bytes(kit.zipped(content))
        return prepare(study, "glass", config)

    return SimpleNamespace(files=files, run=run, config=config)


def test_several_archives_test_sets_and_classes(glass, study: Study) -> None:
    for name in ("NonGlass1", "NonGlass2"):
        for folder, suffix in (("images", "jpg"), ("masks", "png")):
            source = glass.files["glass_train"][f"train/{folder}/train0.{suffix}"]
            glass.files["glass_train"][f"train/{folder}/{name}.{suffix}"] = source
    manifest = glass.run()
    assert manifest.splits == ("train", "val", "easy", "hard")
    assert {split: len(manifest.of(split)) for split in manifest.splits} == Glass.expected
    assert [archive.official for archive in manifest.archives] == [None, None]
    audit = json.loads(Layout.of(study).audit("glass").read_text())
    assert audit["source"] == "unknown"
    assert [(f["text"], len(f["items"])) for f in audit["findings"]] == [
        ("file left out: holds no glass", 4)
    ]
    root = Layout.of(study).prepared("glass")
    data = SegmentationDataset(manifest, root, "hard", 32)
    assert data[0][1].unique().tolist() == [0, 1, 2]
    mean, _ = mean_mask(manifest, root, 20)
    assert mean.shape == (3, 20, 20)
    assert np.allclose(mean.sum(axis=0), 1)


def test_all_archives_of_a_set_are_needed(glass, study: Study) -> None:
    glass.run()
    (study.archives / "glass_test.zip").unlink()
    with pytest.raises(ArchiveError, match=r"glass_test\.zip"):
        prepare(study, "glass", glass.config)


def test_an_id_in_two_parts_is_an_error(glass) -> None:
    test = glass.files["glass_test"]
    test["easy/images/val0.jpg"] = test["easy/images/easy0.jpg"]
    test["easy/masks/val0.png"] = test["easy/masks/easy0.png"]
    with pytest.raises(AuditError, match=r"id of several pairs \(1\): val0"):
        glass.run()


def test_unknown_class_ids_are_an_error(glass, kit: SimpleNamespace) -> None:
    mask = Image.fromarray(np.full((20, 24), 7, np.uint8))
    glass.files["glass_test"]["hard/masks/hard1.png"] = kit.encode(mask, "PNG")
    with pytest.raises(AuditError, match=r"hard1\.png \(unknown class ids\)"):
        glass.run()


def test_two_files_of_one_name(glass) -> None:
    train = glass.files["glass_train"]
    train["train/images/train1.png"] = train["train/images/train1.jpg"]
    with pytest.raises(AuditError, match=r"two files of one name \(1\): .*train1\.png"):
        glass.run()


def test_manifests_that_cannot_be_read(glass, study: Study, tmp_path: Path) -> None:
    glass.run()
    path = Layout.of(study).manifest("glass")
    good = json.loads(path.read_text())
    with pytest.raises(ManifestError, match="not found"):
        read_manifest(tmp_path / "none.json")
    first = good["samples"][0]
    for spoilt, says in (
        ({**good, "schema_version": 9}, "schema version 9"),
        ({**good, "samples": [first, first]}, "each id once"),
        ({**good, "samples": [first | {"split": "odd"}]}, "unknown splits"),
        ({**good, "samples": [first]}, "splits without samples"),
        ({**good, "samples": [first | {"image_sha256": "12"}]}, "image_sha256"),
        ([], "schema version None"),
    ):
        path.write_text(json.dumps(spoilt))
        with pytest.raises(ManifestError, match=says):
            read_manifest(path)
    path.write_text('{"schema_')
    with pytest.raises(ManifestError, match="damaged"):
        read_manifest(path)


def test_no_permission(glass, study: Study, kit: SimpleNamespace) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user here")
    glass.run()
    before = kit.tree(Layout.of(study).root)
    archive = study.archives / "glass_train.zip"
    folders = [p for p in archive.parents if p != Path("/")]
    modes = {path: path.stat().st_mode for path in folders}
    for path in folders:
        path.chmod(modes[path] | 0o555)
    try:
        os.seteuid(65534)
        with pytest.raises(DiskError, match="Permission denied"):
            prepare(study, "glass", glass.config)
        os.seteuid(0)
        archive.chmod(0)
        os.seteuid(65534)
        with pytest.raises(ArchiveError, match=r"cannot read.*Permission denied"):
            prepare(study, "glass", glass.config)
    finally:
        os.seteuid(0)
        for path, mode in modes.items():
            path.chmod(mode)
    assert kit.tree(Layout.of(study).root) == before


def test_grey_masks_of_other_modes() -> None:
    white = np.zeros((10, 10), np.uint8)
    white[2:5, 2:5] = 255
    for mode in ("1", "L", "RGB", "P"):
        decoded = GreyMask().decode(Image.fromarray(white).convert(mode))
        assert decoded.problem is None
        assert np.array_equal(decoded.labels, white // 255)
        assert decoded.grey == 0
    white[5, 5] = 127
    assert GreyMask(doubtful=0.02).decode(Image.fromarray(white)).labels.sum() == 9
    white[5, 5] = 128
    decoded = GreyMask(doubtful=0.02).decode(Image.fromarray(white))
    assert (decoded.labels.sum(), decoded.grey) == (10, pytest.approx(0.01))
    assert "1.0%" in str(GreyMask().decode(Image.fromarray(white)).problem)
