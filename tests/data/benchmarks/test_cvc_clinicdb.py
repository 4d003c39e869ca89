from __future__ import annotations

import io
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
from naslora.data.prepare import prepare
from naslora.study.layout import Layout
from naslora.study.settings import Study
from naslora.synthetic.archive import generated_mark
from naslora.synthetic.generators import find_generator

CLINIC = get_benchmark("cvc_clinicdb")
GENERATOR = find_generator("cvc_clinicdb")
FILE = "CVC-ClinicDB.zip"
COUNT = 16
Files = dict[str, bytes]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return GENERATOR.generate(tmp_path_factory.mktemp("generated"), COUNT, seed=3)[0]


@pytest.fixture
def run(study: Study, kit: SimpleNamespace) -> Callable[[Files], Manifest]:
    """Prepares the task from an archive of these files."""

    def prepared(files: Files) -> Manifest:
        (study.archives / FILE).write_bytes(kit.zipped(files))
        return prepare(study, "cvc_clinicdb", kit.root / "config")

    return prepared


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_same_arguments_same_bytes(archive: Path, kit: SimpleNamespace, tmp_path: Path) -> None:
    assert GENERATOR.generate(tmp_path, COUNT, seed=3)[0].read_bytes() == archive.read_bytes()
    few = kit.unzipped(GENERATOR.generate(tmp_path, 4, seed=3)[0])
    assert few.items() < kit.unzipped(archive).items(), "fewer images are the first ones"
    other = kit.unzipped(GENERATOR.generate(tmp_path, 4, seed=4)[0])
    assert not few.items() & other.items()


def test_official_layout_and_quirks(archive: Path, kit: SimpleNamespace) -> None:
    assert archive.name == FILE
    assert generated_mark(archive) == f"generated: cvc_clinicdb, {COUNT} images, seed 3"
    files = kit.unzipped(archive)
    numbers = [str(number) for number in range(1, COUNT + 1)]
    assert sorted(files) == sorted(
        f"CVC-ClinicDB/{folder}/{n}.tif" for folder in ("Original", "Ground Truth") for n in numbers
    )
    with_grey = 0
    for number in numbers:
        image = opened(files[f"CVC-ClinicDB/Original/{number}.tif"])
        mask = opened(files[f"CVC-ClinicDB/Ground Truth/{number}.tif"])
        assert (image.mode, image.info["compression"]) == ("RGB", "jpeg")
        assert (mask.mode, mask.info["compression"]) == ("L", "tiff_lzw")
        assert image.size == mask.size == (240, 180), "one size, of the official aspect"
        pixels = np.asarray(image)
        assert pixels[:, :8].max() < 40, "a dark border on the left"
        assert pixels[:4].max() < 40
        grey = (np.asarray(mask) % 255) > 0
        assert (pixels[grey].max(axis=-1) < 60).all(), "grey where the view ends"
        with_grey += bool(grey.any())
    assert 0 < with_grey < COUNT, "some masks have grey pixels"


def test_generated_archives_take_the_same_way(
    study: Study, kit: SimpleNamespace, archive: Path, run: Callable[[Files], Manifest]
) -> None:
    generating = study.model_copy(update={"generated": {"cvc_clinicdb": 12}})
    manifest = prepare(generating, "cvc_clinicdb", kit.root / "config")
    assert manifest.generated
    assert [len(manifest.of(split)) for split in manifest.splits] == [9, 2, 1]
    assert not run(kit.unzipped(archive)).generated, "known by its mark alone"


def test_grey_of_the_border_is_background(
    study: Study, kit: SimpleNamespace, archive: Path, run: Callable[[Files], Manifest]
) -> None:
    files = kit.unzipped(archive)
    manifest = run(files)
    shares = []
    for sample in manifest.samples:
        raw = np.asarray(opened(files[sample.mask.removeprefix("cvc_clinicdb/")]))
        labels = CLINIC.read_mask(Layout.of(study).prepared("cvc_clinicdb") / sample.mask)
        assert np.array_equal(labels, raw == 255)
        shares.append(labels.mean())
    assert 0.01 < min(shares) < np.median(shares) < max(shares) < 0.5


@pytest.mark.parametrize("folder", ["", "CVC-ClinicDB/", "some other name/"])
def test_folders_at_the_root_or_in_one(
    folder: str, kit: SimpleNamespace, archive: Path, run: Callable[[Files], Manifest]
) -> None:
    files = kit.unzipped(archive)
    manifest = run({folder + name.removeprefix("CVC-ClinicDB/"): d for name, d in files.items()})
    assert len(manifest.samples) == COUNT
    assert manifest.samples[0].image == f"cvc_clinicdb/{folder}Original/1.tif"
    assert [s.split for s in manifest.samples] == [s.split for s in run(files).samples]


def test_missing_and_extra_files(
    study: Study, kit: SimpleNamespace, archive: Path, run: Callable[[Files], Manifest]
) -> None:
    files = kit.unzipped(archive)
    mask = "CVC-ClinicDB/Ground Truth/7.tif"
    with pytest.raises(AuditError, match=r"image without a mask \(1\): .*Original/7\.tif"):
        run({name: data for name, data in files.items() if name != mask})
    image = "CVC-ClinicDB/Original/7.tif"
    with pytest.raises(AuditError, match=r"mask without an image \(1\): .*Truth/7\.tif"):
        run({name: data for name, data in files.items() if name != image})
    with pytest.raises(AuditError, match=r"cvc_clinicdb/CVC-ClinicDB/Ground Truth \(.*Original"):
        run({name: data for name, data in files.items() if "Original" in name})
    run({**files, "CVC-ClinicDB/readme.txt": b"Please cite"})
    report = Layout.of(study).audit("cvc_clinicdb").with_suffix(".md").read_text()
    assert "not part of the benchmark (1): cvc_clinicdb/CVC-ClinicDB/readme.txt" in report


def test_split_of_the_whole_set() -> None:
    samples = [Sample(str(n), f"{n}.tif", f"{n}.tif") for n in range(1, 613)]
    split = CLINIC.split(samples, 0)
    assert {name: len(ids) for name, ids in split.items()} == CLINIC.expected
    assert (len(split["train"]) + len(split["val"]), len(split["test"])) == (550, 62)
    assert CLINIC.split(samples[::-1], 0) == split, "whatever order the files come in"
    assert CLINIC.split(samples, 1) != split
    assert split["test"][:8] == ["101", "115", "130", "138", "142", "147", "15", "174"]


def test_the_real_archive(real: Callable[[str], SimpleNamespace]) -> None:
    found = real("cvc_clinicdb")
    near = {"near_duplicate_across", "near_duplicate_within"}
    assert near <= found.kinds <= {"counts", "unused", *near}, "frames of one video are alike"
    assert found.audit["pairs"] == len(found.manifest.samples) >= 200
    statistics = found.audit["statistics"]
    assert 0.05 < statistics["foreground in the mask"]["mean"] < 0.15
    assert 0 < statistics["grey or odd values in the mask"]["mean"] < 0.01
    width, height = statistics["width (px)"], statistics["height (px)"]
    assert width["least"] / height["least"] == pytest.approx(384 / 288)
    blank, mean = (found.controls[f"control_{n}"].metrics["test"] for n in ("blank", "mean_mask"))
    assert set(blank) == set(CLINIC.metrics)
    assert blank["Dice"] == 0
    assert mean["S_measure"] > blank["S_measure"]
