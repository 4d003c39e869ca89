from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from naslora.core.errors import AuditError
from naslora.data.benchmarks.contract import get_benchmark
from naslora.data.benchmarks.listing import Sample
from naslora.data.masks import GreyMask
from naslora.data.prepare import prepare
from naslora.study.layout import Layout
from naslora.study.settings import Study
from naslora.synthetic.archive import generated_mark
from naslora.synthetic.generators import find_generator

SBU = get_benchmark("sbu")
GENERATOR = find_generator("sbu")
TRAIN, TEST = "SBU-shadow/SBUTrain4KRecoveredSmall", "SBU-shadow/SBU-Test"
Files = dict[str, bytes]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return GENERATOR.generate(tmp_path_factory.mktemp("generated"), 28, seed=3)[0]


@pytest.fixture
def files(archive: Path, kit: SimpleNamespace) -> Files:
    return kit.unzipped(archive)


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def mask_of(name: str) -> str:
    return name.replace("ShadowImages", "ShadowMasks").replace(".jpg", ".png")


def pairs(files: Files) -> list[tuple[np.ndarray, np.ndarray]]:
    """Grey images (H, W) and where their shadows are."""
    return [
        (pixels(data).mean(axis=2), pixels(files[mask_of(name)]) > 127)
        for name, data in files.items()
        if "/ShadowImages/" in name
    ]


def prepared(study: Study, files: Files, kit: SimpleNamespace) -> dict[str, dict]:
    """Prepare the files as an archive from elsewhere; returns the audit's findings by kind."""
    (study.archives / "SBU-shadow.zip").write_bytes(kit.zipped(files))
    prepare(study, "sbu", kit.root / "config")
    audit = json.loads(Layout.of(study).audit("sbu").read_text())
    return {finding["kind"]: finding for finding in audit["findings"]}


def test_same_seed_same_bytes(files: Files, kit: SimpleNamespace, tmp_path: Path) -> None:
    one, two, other = (
        GENERATOR.generate(tmp_path / name, 8, seed)[0]
        for name, seed in (("1", 3), ("2", 3), ("3", 4))
    )
    assert one.read_bytes() == two.read_bytes() != other.read_bytes()
    assert kit.unzipped(one).items() < files.items(), "fewer images are the first ones"
    assert generated_mark(one) == "generated: sbu, 8 images, seed 3"


def test_official_layout_and_quirks(files: Files) -> None:
    folders = {f"{part}/Shadow{kind}" for part in (TRAIN, TEST) for kind in ("Images", "Masks")}
    assert {name.rsplit("/", 1)[0] for name in files} == folders
    assert len(files) == 2 * 28
    assert f"{TRAIN}/ShadowImages/lssd1.jpg" in files
    assert f"{TEST}/ShadowMasks/lssd1.png" in files, "names recur from part to part"
    grey = 0
    for name, data in files.items():
        if "/ShadowMasks/" in name:
            mask = pixels(data)
            assert mask.ndim == 2
            assert {0, 255} <= set(np.unique(mask))
            grey += len(np.unique(mask)) > 2
    assert grey == 21 // 6 + 7 // 6, "some outlines are grey"


def test_shadows_are_darker_and_so_are_other_things(files: Files) -> None:
    shown = pairs(files)
    shares = [shadow.mean() for _, shadow in shown]
    assert 0 < min(shares) < 0.05
    assert 0.3 < max(shares) < 0.8
    ratios, dark_elsewhere = [], []
    for grey, shadow in shown:
        away = ndimage.distance_transform_edt(~shadow)
        inside = grey[shadow].mean()
        ratios.append(inside / grey[(away > 2) & (away < 15)].mean())
        dark_elsewhere.append((grey[away > 4] < inside).mean())
    assert np.median(ratios) < 0.75
    assert np.median(dark_elsewhere) > 0.01
    best = max(
        np.mean([(hit & shadow).sum() / (hit | shadow).sum() for hit, shadow in cut_at(shown, cut)])
        for cut in range(20, 200, 10)
    )
    assert 0.2 < best < 0.65, "a threshold finds some of it, not all"


def cut_at(
    shown: list[tuple[np.ndarray, np.ndarray]], cut: float
) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(grey < cut, shadow) for grey, shadow in shown]


def test_split_of_the_whole_benchmark() -> None:
    samples = [
        Sample(f"{part}_{index}", "i", "m", part)
        for part, count in (("train", 4085), ("test", 638))
        for index in range(count)
    ]
    splits = SBU.split(samples, seed=1)
    assert {split: len(ids) for split, ids in splits.items()} == SBU.expected
    assert set(splits["train"]) | set(splits["val"]) == {s.id for s in samples[:4085]}
    assert splits["test"] == sorted(s.id for s in samples[4085:])
    assert splits["val"] != SBU.split(samples, seed=2)["val"]
    assert splits == SBU.split(samples[::-1], seed=1)


def test_generated_images_pass_the_audit(study: Study, kit: SimpleNamespace) -> None:
    generating = study.model_copy(update={"generated": {"sbu": 12}})
    manifest = prepare(generating, "sbu", kit.root / "config")
    assert [len(manifest.of(split)) for split in ("train", "val", "test")] == [8, 1, 3]
    assert {s.id for s in manifest.of("test")} == {f"test_lssd{n}" for n in (1, 2, 3)}
    audit = json.loads(Layout.of(generating).audit("sbu").read_text())
    assert audit["findings"] == []
    assert audit["statistics"]["grey or odd values in the mask"]["most"] > 0


def test_one_name_in_both_parts_is_two_images(study: Study, files: Files, kit) -> None:
    files[f"{TRAIN}/ShadowImages/list.mat"] = b"a table"
    found = prepared(study, files, kit)
    assert found["unused"]["items"] == [f"sbu_shadow/{TRAIN}/ShadowImages/list.mat"]
    assert set(found) == {"counts", "unused"}


def test_a_missing_mask_is_an_error(study: Study, files: Files, kit) -> None:
    del files[f"{TEST}/ShadowMasks/lssd2.png"]
    with pytest.raises(AuditError, match=r"image without a mask \(1\): .*SBU-Test.*lssd2\.jpg"):
        prepared(study, files, kit)


def test_a_missing_part_is_an_error(study: Study, files: Files, kit) -> None:
    learnt = {name: data for name, data in files.items() if name.startswith(TRAIN)}
    with pytest.raises(AuditError, match=r"folder not found \(2\): .*SBU-Test/ShadowImages"):
        prepared(study, learnt, kit)


def test_a_photograph_is_no_mask(files: Files) -> None:
    photograph = Image.open(io.BytesIO(files[f"{TRAIN}/ShadowImages/lssd1.jpg"])).convert("L")
    assert "neither black nor white" in str(SBU.decode_mask(photograph).problem)
    leafy = Image.fromarray((np.random.default_rng(0).random((90, 90)) > 0.9) * np.uint8(255))
    resized = leafy.resize((360, 360)).resize((250, 250))
    assert SBU.decode_mask(resized).problem is not None, "too grey even for a tree's shadow"
    outlined = Image.fromarray(pairs(files)[0][1] * np.uint8(255)).resize((640, 480))
    assert SBU.decode_mask(outlined).problem is None
    assert GreyMask().threshold == SBU.masks.threshold == 128


def test_the_real_archive(real: Callable[[str], SimpleNamespace]) -> None:
    run = real("sbu")
    assert run.audit["source"] in ("official", "other")
    assert run.kinds <= {"counts", "unused", "empty_mask", "duplicate_within", "duplicate_across"}
    assert len(run.manifest.of("test")) >= 10
    assert 0 < run.audit["statistics"]["grey or odd values in the mask"]["most"] < 0.1
    blank, mean = (
        run.controls[f"control_{name}"].metrics["test"] for name in ("blank", "mean_mask")
    )
    assert blank["BER"] == blank["BER_image"] == 50
    assert mean["BER"] > 30
