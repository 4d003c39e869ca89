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

from naslora.core.errors import AuditError, ManifestError
from naslora.data.benchmarks.contract import get_benchmark
from naslora.data.benchmarks.listing import Sample
from naslora.data.manifest import Manifest, read_manifest
from naslora.data.prepare import prepare
from naslora.study.layout import Layout
from naslora.study.settings import Study
from naslora.synthetic.archive import generated_mark
from naslora.synthetic.generators import find_generator

COD = get_benchmark("cod")
GENERATOR = find_generator("cod")
EMPTY = "COD10K-NonCAM-"
Files = dict[str, bytes]


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return GENERATOR.generate(tmp_path_factory.mktemp("generated"), 30, seed=3)


@pytest.fixture
def files(archives: list[Path], kit: SimpleNamespace) -> dict[str, Files]:
    """Contents of the training and of the test archive."""
    return {path.stem: kit.unzipped(path) for path in archives}


@pytest.fixture
def found(study: Study, files: dict[str, Files], kit: SimpleNamespace) -> Callable[[], Manifest]:
    """Prepares the task from the files, as archives that do not say that they are generated."""

    def run() -> Manifest:
        for name, content in files.items():
            (study.archives / f"{name}.zip").write_bytes(kit.zipped(content))
        return prepare(study, "cod", kit.root / "config")

    return run


def findings(study: Study) -> dict[str, dict]:
    audit = json.loads(Layout.of(study).audit("cod").read_text())
    return {finding["text"]: finding for finding in audit["findings"]}


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def pairs(files: dict[str, Files]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images (H, W, 3) and masks (H, W) with a creature."""
    everything = files["TrainDataset"] | files["TestDataset"]
    return [
        (pixels(data), np.asarray(Image.fromarray(pixels(everything[mask_of(name)])).convert("L")))
        for name, data in everything.items()
        if "/Imgs/" in name and EMPTY not in name
    ]


def mask_of(name: str) -> str:
    return name.replace("/Imgs/", "/GT/").replace(".jpg", ".png")


def test_same_seed_same_bytes(files, kit: SimpleNamespace, tmp_path: Path) -> None:
    one, two, other = (
        GENERATOR.generate(tmp_path / n, 8, seed) for n, seed in (("1", 3), ("2", 3), ("3", 4))
    )
    assert [path.name for path in one] == ["TrainDataset.zip", "TestDataset.zip"]
    for a, b, c in zip(one, two, other, strict=True):
        assert a.read_bytes() == b.read_bytes() != c.read_bytes()
        assert kit.unzipped(a).items() < files[a.stem].items(), "fewer images are the first ones"
        assert generated_mark(a) == "generated: cod, 8 images, seed 3"


def test_official_layout_and_quirks(files: dict[str, Files]) -> None:
    train, test = files["TrainDataset"], files["TestDataset"]
    assert {name.rsplit("/", 1)[0] for name in train} == {"TrainDataset/Imgs", "TrainDataset/GT"}
    assert {name.rsplit("/", 1)[0] for name in test} == {
        f"TestDataset/{part}/{kind}"
        for part in ("CAMO", "COD10K", "CHAMELEON")
        for kind in ("Imgs", "GT")
    }
    stems = [Path(name).stem for name in [*train, *test] if name.endswith(".jpg")]
    assert len(stems) == len(set(stems)) == 30 + 2
    kinds = ("camourflage_", "COD10K-CAM-", EMPTY, "animal-")
    assert all(stem.startswith(kinds) for stem in stems)
    masks = {name: pixels(data) for name, data in (train | test).items() if "/GT/" in name}
    colour = [name for name, mask in masks.items() if mask.ndim == 3]
    assert [Path(name).stem[:12] for name in colour] == ["camourflage_"], "one CAMO mask is RGB"
    for name, mask in masks.items():
        assert set(np.unique(mask)) == ({0} if EMPTY in name else {0, 255})


def test_colour_does_not_find_the_creature(files: dict[str, Files]) -> None:
    shown = pairs(files)
    shares = [(mask > 127).mean() for _, mask in shown]
    assert 0.02 < min(shares) < 0.13
    assert 0.25 < max(shares) < 0.6
    for channel in range(3):
        for sign in (1, -1):
            for cut in np.linspace(0.1, 0.9, 9):
                overlaps = []
                for image, mask in shown:
                    hit, truth = sign * (image[..., channel] - 255.0 * cut) > 0, mask > 127
                    overlaps.append((hit & truth).sum() / (hit | truth).sum())
                assert np.mean(overlaps) < 0.3


def test_the_creature_can_be_seen(files: dict[str, Files]) -> None:
    """A thin shadow goes round it: outside the outline it is darker than farther out."""
    darker = []
    for image, mask in pairs(files):
        grey = image.mean(axis=2)
        away = ndimage.distance_transform_edt(mask < 128)
        rim, beyond = (away > 0) & (away <= 2), (away > 8) & (away < 25)
        darker.append(grey[rim].mean() / grey[beyond].mean())
    assert np.median(darker) < 0.93


def test_split_of_the_whole_benchmark() -> None:
    parts = {"train": 4040, "camo": 250, "cod10k": 2026, "chameleon": 76}
    samples = [
        Sample(f"{part}{index}", "i", "m", part)
        for part, count in parts.items()
        for index in range(count)
    ]
    splits = COD.split(samples, seed=1)
    assert {split: len(ids) for split, ids in splits.items()} == COD.expected
    assert sorted(id_ for ids in splits.values() for id_ in ids) == sorted(s.id for s in samples)
    assert all(id_.startswith("train") for id_ in splits["train"] + splits["val"])
    assert splits["val"] != COD.split(samples, seed=2)["val"]
    assert splits == COD.split(samples[::-1], seed=1)


def test_generated_images_pass_the_audit(study: Study, kit: SimpleNamespace) -> None:
    generating = study.model_copy(update={"generated": {"cod": 30}})
    manifest = prepare(generating, "cod", kit.root / "config")
    sizes = {split: len(manifest.of(split)) for split in manifest.splits}
    assert sizes == {"train": 16, "val": 2, "camo": 4, "cod10k": 4, "chameleon": 4}
    assert manifest.evaluated == ["camo", "cod10k", "chameleon"]
    learnt = {sample.id.split("-")[0][:6] for sample in manifest.of("train")}
    assert learnt == {"camour", "COD10K"}, "trained on both"
    assert not any(sample.id.startswith(EMPTY) for sample in manifest.samples)
    assert {text: len(f["items"]) for text, f in findings(generating).items()} == {
        "file left out: COD10K-NonCAM: no camouflaged object": 4
    }


def test_images_without_an_object_need_no_mask(files, found, study: Study) -> None:
    train = files["TrainDataset"]
    for name in [name for name in train if EMPTY in name and "/GT/" in name]:
        del train[name]
    manifest = found()
    assert len(manifest.samples) == 30
    assert len(findings(study)["file left out: COD10K-NonCAM: no camouflaged object"]["items"]) == 2


def test_other_folders_are_left_out(files, found, study: Study) -> None:
    edge = "TrainDataset/Edge/camourflage_00001.png"
    files["TrainDataset"][edge] = files["TrainDataset"]["TrainDataset/GT/camourflage_00001.png"]
    found()
    listed = findings(study)["file left out: not part of the benchmark"]
    assert listed["items"] == [f"cod_train/{edge}"]


def test_a_missing_mask_is_an_error(files, found) -> None:
    del files["TestDataset"]["TestDataset/CAMO/GT/camourflage_00002.png"]
    with pytest.raises(AuditError, match=r"image without a mask \(1\): .*camourflage_00002\.jpg"):
        found()


def test_an_image_in_training_and_test(files, found) -> None:
    for name, data in list(files["TrainDataset"].items()):
        if "camourflage_00001" in name:
            files["TestDataset"][name.replace("TrainDataset", "TestDataset/CAMO")] = data
    with pytest.raises(AuditError, match="id of several pairs"):
        found()


def without(files: dict[str, Files], *parts: str) -> None:
    for name in list(files["TestDataset"]):
        if name.split("/")[1] in parts:
            del files["TestDataset"][name]


def test_reduced_archives_may_lack_a_test_set(files, found, study: Study) -> None:
    from naslora.evaluation.controls import evaluate_controls
    from naslora.study.records import read_record

    without(files, "COD10K", "CHAMELEON")
    manifest = found()
    assert manifest.evaluated == ["camo"]
    assert manifest.of("cod10k") == []
    assert read_manifest(Layout.of(study).manifest("cod")) == manifest
    told = findings(study)
    assert told["test set without images, not evaluated"]["items"] == ["chameleon", "cod10k"]
    assert "cod10k 0 instead of 2026" in told["counts other than Appendix B's"]["items"]
    assert {finding["severity"] for finding in told.values()} == {"oddity"}
    for path in evaluate_controls(study, "cod"):
        record = read_record(path)
        assert record.images == {"camo": 4}
        assert set(record.metrics) == {"camo"}
        assert set(record.metrics["camo"]) == set(COD.metrics)


def test_generated_archives_must_hold_all_test_sets(study: Study, kit: SimpleNamespace) -> None:
    generating = study.model_copy(update={"generated": {"cod": 4}})
    with pytest.raises(AuditError, match=r"split without images \(1\): chameleon"):
        prepare(generating, "cod", kit.root / "config")


def test_some_test_set_must_have_images(files, found) -> None:
    without(files, "CAMO", "COD10K", "CHAMELEON")
    files["TestDataset"]["TestDataset/NC4K/Imgs/1.jpg"] = b"other"
    with pytest.raises(AuditError, match=r"split without images \(3\): camo, chameleon, cod10k"):
        found()


def test_no_manifest_of_whole_archives_lacks_a_test_set(
    files, found, study: Study, tmp_path: Path
) -> None:
    without(files, "CHAMELEON")
    lacking = found().model_dump(mode="json")
    whole = {**lacking, "archives": [a | {"official": True} for a in lacking["archives"]]}
    untested = [s for s in lacking["samples"] if s["split"] not in COD.test_sets]
    path = tmp_path / "manifest.json"
    for spoilt in (whole, {**lacking, "generated": True}, {**lacking, "samples": untested}):
        path.write_text(json.dumps(spoilt))
        with pytest.raises(ManifestError, match=r"splits without samples: \[.*'chameleon'"):
            read_manifest(path)


def test_the_real_archives(real: Callable[[str], SimpleNamespace]) -> None:
    run = real("cod")
    assert "camo" in run.manifest.evaluated
    assert set(run.audit["splits"]) == set(COD.expected)
    assert run.audit["source"] in ("official", "other", "unknown")
    assert len(run.manifest.of("val")) == round(0.1 * (run.audit["splits"]["train"] / 0.9))
    assert 0.1 < run.audit["statistics"]["foreground in the mask"]["mean"] < 0.3
    assert all(finding["severity"] == "oddity" for finding in run.audit["findings"])
    blank, mean = (run.controls[f"control_{name}"] for name in ("blank", "mean_mask"))
    assert blank.metrics["camo"]["IoU"] == 0
    assert mean.metrics["camo"]["S_measure"] > 0.4
    assert set(blank.metrics) == set(run.manifest.evaluated)
