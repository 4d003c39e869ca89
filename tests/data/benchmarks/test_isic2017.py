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
from naslora.data.prepare import prepare
from naslora.study.layout import Layout
from naslora.study.settings import Study
from naslora.synthetic.archive import generated_mark
from naslora.synthetic.generators import find_generator

ISIC = get_benchmark("isic2017")
GENERATOR = find_generator("isic2017")
TRAIN, VAL, TEST = (f"ISIC-2017_{part}" for part in ("Training", "Validation", "Test_v2"))
COUNT = 16
NEAR = ("near_duplicate_across", "near_duplicate_within")
Archives = dict[str, dict[str, bytes]]


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return GENERATOR.generate(tmp_path_factory.mktemp("generated"), COUNT, seed=3)


@pytest.fixture
def archives(paths: list[Path], kit: SimpleNamespace) -> Archives:
    """Files by archive, without the suffix .zip."""
    return {path.stem: kit.unzipped(path) for path in paths}


@pytest.fixture
def run(study: Study, kit: SimpleNamespace) -> Callable[[Archives], Manifest]:
    """Prepares the task from archives of these files."""

    def prepared(archives: Archives) -> Manifest:
        for name, files in archives.items():
            (study.archives / f"{name}.zip").write_bytes(kit.zipped(files))
        return prepare(study, "isic2017", kit.root / "config")

    return prepared


def findings(study: Study) -> dict[str, list[str]]:
    audit = json.loads(Layout.of(study).audit("isic2017").read_text())
    return {finding["text"]: finding["items"] for finding in audit["findings"]}


def test_same_arguments_same_bytes(
    paths: list[Path], archives: Archives, kit: SimpleNamespace, tmp_path: Path
) -> None:
    again = GENERATOR.generate(tmp_path, COUNT, seed=3)
    assert [p.read_bytes() for p in again] == [p.read_bytes() for p in paths]
    for path in GENERATOR.generate(tmp_path, 6, seed=3):
        few = {n: data for n, data in kit.unzipped(path).items() if not n.endswith(".csv")}
        assert few
        assert few.items() <= archives[path.stem].items(), "fewer images are the first of each part"
    other = GENERATOR.generate(tmp_path, 6, seed=4)[0].read_bytes()
    assert other != GENERATOR.generate(tmp_path, 6, seed=3)[0].read_bytes()


def test_official_layout_and_quirks(paths: list[Path], archives: Archives) -> None:
    kinds = ("Data", "Part1_GroundTruth")
    assert [p.stem for p in paths] == [f"{part}_{k}" for part in (TRAIN, VAL, TEST) for k in kinds]
    assert {generated_mark(path) for path in paths} == {
        f"generated: isic2017, {COUNT} images, seed 3"
    }
    sizes = set()
    for part, count in ((TRAIN, 9), (VAL, 3), (TEST, 4)):
        data, masks = (archives[f"{part}_{kind}"] for kind in kinds)
        assert len(data) == 2 * count + 1
        assert f"{part}_Data/{part}_Data_metadata.csv" in data
        ids = [Path(name).stem for name in data if name.endswith(".jpg")]
        assert set(masks) == {f"{part}_{kinds[1]}/{id_}_segmentation.png" for id_ in ids}
        for id_ in ids:
            image = Image.open(io.BytesIO(data[f"{part}_Data/{id_}.jpg"]))
            mask = Image.open(io.BytesIO(masks[f"{part}_{kinds[1]}/{id_}_segmentation.png"]))
            cells = Image.open(io.BytesIO(data[f"{part}_Data/{id_}_superpixels.png"]))
            assert (image.mode, mask.mode, cells.mode) == ("RGB", "L", "RGB")
            assert image.size == mask.size == cells.size
            assert np.unique(mask).tolist() == [0, 255]
            sizes.add(image.size)
    assert len(sizes) > 10, "sizes vary"


def test_lesions_look_like_lesions(archives: Archives) -> None:
    shares, darker = [], []
    for name, data in archives[f"{TRAIN}_Part1_GroundTruth"].items():
        inside = np.asarray(Image.open(io.BytesIO(data))) > 0
        image = archives[f"{TRAIN}_Data"][
            f"{TRAIN}_Data/{Path(name).name.replace('_segmentation.png', '.jpg')}"
        ]
        grey = np.asarray(Image.open(io.BytesIO(image)).convert("L"))
        shares.append(inside.mean())
        darker.append(np.median(grey[~inside & (grey > 50)]) - np.median(grey[inside]))
    assert 0.005 < min(shares) < max(shares) < 0.9
    assert max(shares) > 3 * min(shares)
    assert np.mean(np.array(darker) > 10) > 0.9


def test_generated_archives_take_the_same_way(
    study: Study, kit: SimpleNamespace, archives: Archives, run: Callable[[Archives], Manifest]
) -> None:
    generating = study.model_copy(update={"generated": {"isic2017": 8}})
    manifest = prepare(generating, "isic2017", kit.root / "config")
    assert manifest.generated
    assert [len(manifest.of(split)) for split in manifest.splits] == [5, 1, 2]
    manifest = run(archives)
    assert not manifest.generated
    assert [len(manifest.of(split)) for split in manifest.splits] == [9, 3, 4]
    assert manifest.of("val")[0].image.endswith(f"{VAL}_Data/ISIC_0005000.jpg")


def test_superpixels_and_tables_are_left_out(
    study: Study, archives: Archives, run: Callable[[Archives], Manifest]
) -> None:
    archives[f"{TEST}_Data"]["readme.txt"] = b""
    run(archives)
    left_out = {
        text.removeprefix("file left out: "): len(items)
        for text, items in findings(study).items()
        if text.startswith("file left out")
    }
    assert left_out == {
        "superpixels, for another task of the challenge": COUNT,
        "age and sex of the patients": 3,
        "not part of the benchmark": 1,
    }


def test_archives_without_their_folder(
    archives: Archives, run: Callable[[Archives], Manifest]
) -> None:
    flat = {
        archive: {name.split("/")[-1]: data for name, data in files.items()}
        for archive, files in archives.items()
    }
    assert len(run(flat).samples) == COUNT


def test_missing_files(archives: Archives, run: Callable[[Archives], Manifest]) -> None:
    mask = archives[f"{TRAIN}_Part1_GroundTruth"].pop(
        f"{TRAIN}_Part1_GroundTruth/ISIC_0000003_segmentation.png"
    )
    with pytest.raises(AuditError, match=r"image without a mask \(1\): .*ISIC_0000003\.jpg"):
        run(archives)
    archives[f"{VAL}_Part1_GroundTruth"]["ISIC-2017/ISIC_0005000_segmentation.png"] = mask
    archives[f"{VAL}_Data"].pop(f"{VAL}_Data/ISIC_0005000.jpg")
    with pytest.raises(AuditError, match=r"mask without an image \(1\): .*ISIC_0005000_segm"):
        run(archives)


def test_masks_of_other_parts_are_no_substitute(
    archives: Archives, run: Callable[[Archives], Manifest]
) -> None:
    archives[f"{VAL}_Part1_GroundTruth"] = archives[f"{TEST}_Part1_GroundTruth"]
    with pytest.raises(AuditError, match=r"mask without an image \(4\)"):
        run(archives)


def test_official_parts_are_the_split() -> None:
    samples = [
        Sample(f"ISIC_{first + n:07}", "i", "m", part)
        for first, part in ((5000, "val"), (12000, "test"), (0, "train"))
        for n in range(ISIC.expected[part])
    ]
    split = ISIC.split(samples, 0)
    assert {name: len(ids) for name, ids in split.items()} == ISIC.expected
    assert list(split) == ["train", "val", "test"]
    assert split == ISIC.split(samples[::-1], 9), "without chance"
    with pytest.raises(ValueError, match="no samples for test"):
        ISIC.split([s for s in samples if s.part != "test"], 0)
    assert ISIC.split([s for s in samples if s.part != "val"], 0)["val"] == []


def test_the_real_archives(real: Callable[[str], SimpleNamespace]) -> None:
    found = real("isic2017")
    assert found.kinds <= {"counts", "unused", "full_mask", *NEAR}
    assert found.audit["pairs"] == len(found.manifest.samples) >= 810
    statistics = found.audit["statistics"]
    assert 0.15 < statistics["foreground in the mask"]["mean"] < 0.35
    assert statistics["grey or odd values in the mask"]["most"] < 0.01
    blank, mean = (found.controls[f"control_{n}"].metrics["test"] for n in ("blank", "mean_mask"))
    assert set(blank) == {"IoU", "T_Jac", "Dice", "Acc"}
    assert blank["IoU"] == blank["T_Jac"] == 0
    assert 0.3 < blank["Acc"] < 0.9
    assert mean["T_Jac"] <= mean["IoU"] <= mean["Dice"]
    assert mean["IoU"] > 0.1, "lesions lie in the middle"
