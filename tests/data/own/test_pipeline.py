"""User-supplied images are prepared, audited, trained on and evaluated like any benchmark."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from naslora.core.errors import AuditError, ManifestError, SettingsError
from naslora.data.benchmarks.contract import get_benchmark
from naslora.data.dataset import SegmentationDataset
from naslora.data.manifest import Manifest
from naslora.data.masks import IGNORE
from naslora.data.own import OwnOptions, own_data
from naslora.data.prepare import prepare, prepared_images
from naslora.evaluation.controls import evaluate_controls
from naslora.study.layout import Layout
from naslora.study.records import read_record
from naslora.study.settings import Study, load_study


@pytest.fixture
def prepared(tmp_path: Path, registries, kit) -> Callable[..., SimpleNamespace]:
    """Describes data, makes a study of that one task, and prepares it."""

    def run(path: Path, **options: object) -> SimpleNamespace:
        benchmark, _ = own_data(path, OwnOptions(**options))
        file = benchmark.save(tmp_path / "run")
        changes = {
            "tasks": [str(file)],
            "methods": ["lora"],
            "seeds": [0],
            "results": str(tmp_path / "results"),
            "sam": {"image_size": 64, "checkpoint": "random"},
            "training": {"epochs": 1, "architecture": {"start_epoch": 0}},
        }
        study = load_study("rehearsal", changes, kit.root / "config")
        manifest = prepare(study, benchmark.name)
        layout = Layout.of(study)
        return SimpleNamespace(
            study=study,
            task=benchmark.name,
            manifest=manifest,
            layout=layout,
            root=layout.prepared(benchmark.name),
            findings={
                f["kind"]: f
                for f in json.loads(layout.audit(benchmark.name).read_text())["findings"]
            },
        )

    return run


def labels(found: SimpleNamespace) -> dict[str, np.ndarray]:
    manifest: Manifest = found.manifest
    return {
        sample.id: np.asarray(Image.open(found.root / sample.mask)) for sample in manifest.samples
    }


def test_masks_are_written_as_class_numbers(own: SimpleNamespace, tmp_path: Path, prepared) -> None:
    folder = own.write(tmp_path / "discs", lambda m: own.palette(m, border=True))
    found = prepared(folder)
    assert found.findings == {}
    for id_, mask in labels(found).items():
        inside = own.disc(int(id_))
        assert np.array_equal(mask == 1, inside)
        assert set(np.unique(mask)) == {0, 1, IGNORE}
    for sample in found.manifest.samples:
        original = folder / "images" / Path(sample.image).name
        assert (found.root / sample.image).read_bytes() == original.read_bytes()
    assert [archive.file for archive in found.manifest.archives] == ["discs"]
    data = SegmentationDataset(found.manifest, found.root, "train", 64)
    assert set(np.unique(data[0][1].numpy())) == {0, 1, IGNORE}
    for path in evaluate_controls(found.study, found.task):
        record = read_record(path)
        assert record.images == {"test": 1}
        assert 0 <= record.metrics["test"]["IoU"] <= 1
    text = found.layout.audit(found.task).with_suffix(".md").read_text()
    assert "Source: your own images." in text
    assert "Appendix B" not in text


def test_image_and_mask_coincide_in_turned_photographs(
    own: SimpleNamespace, tmp_path: Path, prepared
) -> None:
    folder = own.write(tmp_path / "discs", own.levels(0, 255))
    exif = Image.Exif()
    exif[0x0112] = 6
    for path in list((folder / "images").iterdir()):
        turned = Image.open(path).transpose(Image.Transpose.ROTATE_90)
        turned.save(path.with_suffix(".jpg"), exif=exif, quality=95)
        path.unlink()
    found = prepared(folder)
    data = SegmentationDataset(found.manifest, found.root, "train", 48)
    for index, sample in enumerate(data.samples):
        image = np.asarray(data.native_image(index), float).mean(axis=2)
        inside = data.native_mask(index) == 1
        assert image.shape == inside.shape == own.SIZE[::-1]
        assert np.array_equal(inside, own.disc(int(sample.id)))
        assert image[inside].mean() > image[~inside].mean() + 30, "the disc is the bright one"


def test_resized_masks_and_coco(own: SimpleNamespace, tmp_path: Path, prepared) -> None:
    small = own.write(
        tmp_path / "small", lambda m: own.levels(0, 255)(m).resize((51, 38), Image.NEAREST)
    )
    found = prepared(small, resize_masks=True)
    assert all(mask.shape == own.SIZE[::-1] for mask in labels(found).values())
    found = prepared(own.coco(tmp_path / "coco"), name="annotated")
    masks = labels(found)
    assert np.array_equal(masks["0"] == 1, own.disc(0))
    assert np.array_equal(masks["4"] == IGNORE, own.disc(4))


def test_leakage_is_said_on_the_console(
    own: SimpleNamespace, tmp_path: Path, prepared, caplog
) -> None:
    folder = own.write(tmp_path / "discs", own.levels(0, 255), count=10)
    parts = {}
    for index in range(10):
        name = f"photo{index // 5}_tile{index % 5}"
        for kind in ("images", "masks"):
            (folder / kind / f"{index}.png").rename(folder / kind / f"{name}.png")
        tone = np.asarray(Image.open(folder / "images" / f"{name}.png"), float)
        tone += 90 * (index // 5) * np.array([1, 0, 0])
        image = Image.fromarray(np.clip(tone, 0, 255).astype(np.uint8))
        image.save(folder / "images" / f"{name}.png")
        parts[name] = image
    shutil.copy(folder / "images" / "photo0_tile0.png", folder / "images" / "photo0_tile1.png")
    with caplog.at_level(logging.WARNING):
        found = prepared(folder)
    assert found.findings["duplicate_across"] or found.findings["duplicate_within"]
    alike = found.findings["divided_source"]
    assert alike["items"][0].startswith("photo0 (")
    assert "the column group" in alike["text"]
    assert "discs: images in several splits that are named alike and look alike" in caplog.text
    rows = [f"images/{name}.png,masks/{name}.png,{name[:6]}" for name in parts]
    (folder / "pairs.csv").write_text("\n".join(["image,mask,group", *rows]))
    caplog.clear()
    with pytest.raises(AuditError, match="too few images to split"):
        own_data(folder / "pairs.csv")
    found = prepared(folder / "pairs.csv", test_share=0, name="grouped")
    assert "divided_source" not in found.findings


def test_names_alone_are_no_leakage(own: SimpleNamespace, tmp_path: Path, prepared) -> None:
    folder = own.write(tmp_path / "discs", own.levels(0, 255), count=10)
    for index in range(10):
        for kind in ("images", "masks"):
            name = f"{'cat' if index < 5 else 'dog'}_{index}.png"
            (folder / kind / f"{index}.png").rename(folder / kind / name)
    assert "divided_source" not in prepared(folder).findings


def test_no_test_images(own: SimpleNamespace, tmp_path: Path, prepared) -> None:
    found = prepared(own.write(tmp_path / "discs", own.levels(0, 1)), test_share=0)
    assert found.manifest.splits == ("train", "val")
    record = read_record(evaluate_controls(found.study, found.task)[0])
    assert record.metrics.keys() == {"val"}


def test_changed_data_are_noticed(own: SimpleNamespace, tmp_path: Path, prepared) -> None:
    folder = own.write(tmp_path / "discs", own.levels(0, 255))
    found = prepared(folder)
    before = found.manifest
    own.levels(0, 90)(own.disc(2)).save(folder / "masks" / "2.png")
    with pytest.raises(AuditError, match=r"2\.png has values that were not in any mask .*: 90"):
        prepare(found.study, found.task)
    assert prepared_images(found.study, before) == found.root, "still the old ones"
    own.levels(0, 255)(own.disc(3)).save(folder / "masks" / "2.png")
    shutil.rmtree(found.root)
    with pytest.raises(ManifestError, match="not those of its manifest"):
        prepared_images(found.study, before)
    own.levels(0, 255)(own.disc(2)).save(folder / "masks" / "2.png")
    assert prepared_images(found.study, before) == found.root
    assert labels(found).keys() == {str(index) for index in range(own.COUNT)}


def test_trained_and_evaluated(own: SimpleNamespace, tmp_path: Path, prepared) -> None:
    from naslora.evaluation.evaluate import evaluate
    from naslora.training.train import train

    found = prepared(own.write(tmp_path / "discs", own.levels(0, 1)))
    train(found.study, found.task, "lora", 0)
    record = evaluate(found.study, found.task, "lora", 0)
    assert record.status == "done"
    assert set(record.metrics["test"]) == {
        *("IoU", "Dice", "S_measure", "E_measure", "weighted_F", "Acc")
    }


def test_too_few_mask_tokens(own: SimpleNamespace, tmp_path: Path, prepared) -> None:
    """Every class in an image needs a mask token; without one it gets neither a mask nor a loss."""
    from naslora.training.train import train

    def encode(inside: np.ndarray) -> Image.Image:
        values = np.where(inside, 3, 0).astype(np.uint8)
        values[:4, :8], values[:4, 10:14], values[-4:] = 1, 2, 255
        return Image.fromarray(values)

    found = prepared(own.write(tmp_path / "discs", encode))
    masks = labels(found)
    counted = sum(np.bincount(mask[mask != IGNORE], minlength=4) for mask in masks.values())
    described = get_benchmark(found.task).description
    assert described.class_pixels == tuple(counted.tolist())
    assert described.most_classes == 4
    sam = found.study.sam.model_copy(update={"mask_tokens": 3})
    few = found.study.model_copy(update={"sam": sam})
    with pytest.raises(SettingsError, match=r"mask_tokens is 3, but up to 4 classes are in one im"):
        train(few, found.task, "lora", 0)


def test_two_studies_of_one_name(own: SimpleNamespace, tmp_path: Path, registries, kit) -> None:
    """The study that was loaded last decides what its task is."""
    studies: list[Study] = []
    for number, encode in enumerate((own.levels(0, 1), own.palette)):
        folder = own.write(tmp_path / str(number) / "discs", encode, count=6 + number)
        benchmark, _ = own_data(folder)
        file = benchmark.save(tmp_path / str(number))
        changes = {"tasks": [str(file)], "results": str(tmp_path / f"results{number}")}
        studies.append(load_study("rehearsal", changes, kit.root / "config"))
        assert len(prepare(studies[-1], "discs").samples) == 6 + number
