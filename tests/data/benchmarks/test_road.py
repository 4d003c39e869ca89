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
from naslora.data.prepare import prepare
from naslora.study.layout import Layout
from naslora.study.settings import Study
from naslora.synthetic.archive import generated_mark
from naslora.synthetic.generators import find_generator

ROAD = get_benchmark("road")
GENERATOR = find_generator("road")
PARTS = ("train", "val", "test")
Files = dict[str, bytes]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return GENERATOR.generate(tmp_path_factory.mktemp("generated"), 27, seed=3)[0]


@pytest.fixture
def files(archive: Path, kit: SimpleNamespace) -> Files:
    return kit.unzipped(archive)


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def pairs(files: Files) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images (H, W, 3) and where their roads are."""
    return [
        (pixels(data), pixels(files[f"tiff/{name.split('/')[1]}_labels/{Path(name).stem}.tif"]) > 0)
        for name, data in files.items()
        if name.endswith(".tiff")
    ]


def prepared(study: Study, files: Files, kit: SimpleNamespace) -> dict[str, dict]:
    """Prepare the files as an archive from elsewhere; returns the audit's findings by kind."""
    (study.archives / "massachusetts-roads.zip").write_bytes(kit.zipped(files))
    prepare(study, "road", kit.root / "config")
    audit = json.loads(Layout.of(study).audit("road").read_text())
    return {finding["kind"]: finding for finding in audit["findings"]}


def test_same_seed_same_bytes(files: Files, kit: SimpleNamespace, tmp_path: Path) -> None:
    one, two, other = (
        GENERATOR.generate(tmp_path / name, 6, seed)[0]
        for name, seed in (("1", 3), ("2", 3), ("3", 4))
    )
    assert one.read_bytes() == two.read_bytes() != other.read_bytes()
    assert generated_mark(one) == "generated: road, 6 images, seed 3"
    few = kit.unzipped(one)
    table = few.pop("metadata.csv").decode().splitlines()
    assert few.items() < files.items(), "fewer images are the first ones"
    assert set(table) < set(files["metadata.csv"].decode().splitlines())


def test_official_layout_and_quirks(files: Files) -> None:
    folders = {f"tiff/{part}{kind}" for part in PARTS for kind in ("", "_labels")}
    assert {name.rpartition("/")[0] for name in files} == folders | {""}
    assert len(files) == 2 * 27 + 2
    stems = [Path(name).stem for name in files if name.endswith(".tiff")]
    assert len(set(stems)) == 27
    assert all(len(stem) == 11 and stem.endswith("_15") for stem in stems)
    for name, data in files.items():
        if name.startswith("tiff/"):
            image = Image.open(io.BytesIO(data))
            assert (image.format, image.width) == ("TIFF", image.height)
            assert image.mode == ("L" if "_labels/" in name else "RGB")
            if image.mode == "L":
                assert set(np.unique(image)) == {0, 255}


def test_roads_are_thin_light_and_of_several_widths(files: Files) -> None:
    shown = pairs(files)
    shares = [road.mean() for _, road in shown]
    assert 0.02 < min(shares) < 0.1
    assert 0.2 < max(shares) < 0.6
    widths = [2 * ndimage.distance_transform_edt(road).max() for _, road in shown]
    assert 3 < min(widths) < 6 < max(widths) < 24
    ratios = []
    for image, road in shown:
        grey = image.mean(axis=2)
        away = ndimage.distance_transform_edt(~road)
        seen = grey < 250
        ratios.append(grey[road & seen].mean() / grey[(away > 3) & (away < 12) & seen].mean())
    assert 1.1 < np.median(ratios) < 2


def test_brightness_alone_does_not_find_roads(files: Files) -> None:
    shown = pairs(files)
    for cut in range(40, 220, 10):
        overlaps = []
        for image, road in shown:
            hit = image.mean(axis=2) > cut
            overlaps.append((hit & road).sum() / (hit | road).sum())
        assert np.mean(overlaps) < 0.42


def test_split_is_the_official_one() -> None:
    samples = [
        Sample(f"{part}{index}", "i", "m", part)
        for part, count in (("train", 1108), ("val", 14), ("test", 49))
        for index in range(count)
    ]
    splits = ROAD.split(samples, seed=1)
    assert {split: len(ids) for split, ids in splits.items()} == ROAD.expected
    assert splits == ROAD.split(samples, seed=2) == ROAD.split(samples[::-1], seed=1)
    assert splits["val"] == sorted(f"val{index}" for index in range(14))


def test_the_papers_counts_are_a_named_exception(study: Study, kit: SimpleNamespace) -> None:
    generating = study.model_copy(update={"generated": {"road": 9}})
    manifest = prepare(generating, "road", kit.root / "config")
    assert {split: len(manifest.of(split)) for split in PARTS} == {"train": 6, "val": 1, "test": 2}
    path = Layout.of(generating).audit("road")
    audit = json.loads(path.read_text())
    assert audit["expected"] == {"train": 1108, "val": 14, "test": 49}
    exception = audit["count_exception"]
    assert exception["appendix_b"] == {"train": 1107, "val": 13, "test": 48}
    report = path.with_suffix(".md").read_text()
    assert "| split | pairs | official | Appendix B |" in report
    assert "| train | 6 | 1108 | 1107 |" in report
    assert f"Appendix B's counts are not the official ones: {exception['reason']}." in report
    unused = next(f for f in audit["findings"] if f["kind"] == "unused")
    assert [Path(name).name for name in unused["items"]] == ["label_class_dict.csv", "metadata.csv"]


def test_white_imagery_is_listed_and_kept(study: Study, files: Files, kit) -> None:
    """10 % and 0.9 % of two images are made white, in both cases with some of the roads."""
    names = sorted(name for name in files if name.startswith("tiff/train/"))[:2]
    for name, share in zip(names, (0.1, 0.009), strict=True):
        label = name.replace("/train/", "/train_labels/").replace(".tiff", ".tif")
        content = np.random.default_rng(0).integers(0, 200, (100, 100, 3), np.uint8)
        mask = np.zeros((100, 100), np.uint8)
        mask[:, 48:52] = 255
        content[: round(100 * share), : 100 if share > 0.05 else 90] = 251
        files[name] = kit.encode(Image.fromarray(content), "TIFF")
        files[label] = kit.encode(Image.fromarray(mask), "TIFF")
    found = prepared(study, files, kit)
    assert found["counts"]["text"] == "counts other than the official ones"
    white = [item for item in found["white"]["items"] if names[0] in item or names[1] in item]
    assert white == [f"massachusetts_roads/{names[0]} (10.0% white, with 10.0% of the road pixels)"]
    assert found["white"]["severity"] == "oddity"
    generated = {
        name
        for name, (image, _) in zip(tiffs(files), pairs(files), strict=True)
        if (image >= 250).all(axis=2).mean() > 0.01
    }
    assert len(found["white"]["items"]) == len(generated) > 1
    prepared_pairs = json.loads(Layout.of(study).manifest("road").read_text())["samples"]
    assert len(prepared_pairs) == 27


def tiffs(files: Files) -> list[str]:
    return [name for name in files if name.endswith(".tiff")]


def test_copies_as_png_are_left_out(study: Study, files: Files, kit) -> None:
    for name in tiffs(files):
        label = f"tiff/{name.split('/')[1]}_labels/{Path(name).stem}.tif"
        for copied in (name, label):
            files[f"png{copied[4:].rpartition('.')[0]}.png"] = b"a copy"
    found = prepared(study, files, kit)
    assert len(found["unused"]["items"]) == 2 * 27 + 2


def test_a_missing_label_is_an_error(study: Study, files: Files, kit) -> None:
    name = next(name for name in files if "val_labels" in name)
    del files[name]
    with pytest.raises(AuditError, match=r"image without a mask \(1\): .*tiff/val/"):
        prepared(study, files, kit)


def test_the_real_archive(real: Callable[[str], SimpleNamespace]) -> None:
    run = real("road")
    assert run.kinds >= {"white", "counts"}
    assert len(run.manifest.of("test")) >= 7
    assert 0.02 < run.audit["statistics"]["foreground in the mask"]["mean"] < 0.1
    assert all(finding["severity"] == "oddity" for finding in run.audit["findings"])
    blank = run.controls["control_blank"].metrics["test"]
    assert blank["IoU"] == blank["Dice"] == 0
