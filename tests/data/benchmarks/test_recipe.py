"""The benchmark in CONTRIBUTING.md: its file, line and entry, used exactly as printed there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from naslora.core.errors import ArchiveError, SettingsError
from naslora.data.benchmarks.contract import get_benchmark
from naslora.data.benchmarks.listing import Pairs
from naslora.data.dataset import SegmentationDataset
from naslora.data.generated import generate_blobs
from naslora.data.manifest import Manifest
from naslora.data.prepare import prepare
from naslora.evaluation.controls import evaluate_controls
from naslora.study.layout import Layout
from naslora.study.records import read_record
from naslora.study.settings import Study, load_study

GUIDE = Path(__file__).parents[3] / "CONTRIBUTING.md"
SECTION = GUIDE.read_text(encoding="utf-8").split("## A new benchmark")[1].split("\n## ")[0]


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", SECTION, re.DOTALL)
    assert found
    return found[1]


@pytest.fixture
def config(tmp_path: Path, registries) -> Path:
    """The folder of settings, with the entry."""
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "archives.yaml").write_text(block("yaml"), encoding="utf-8")
    return folder


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my_data" / "coins.py"
    path.parent.mkdir()
    path.write_text(block("python"), encoding="utf-8")
    return path


@pytest.fixture
def study(tmp_path: Path, config: Path, file: Path) -> Callable[..., Study]:
    (tmp_path / "archives").mkdir()

    def load(**changes: object) -> Study:
        places = {"archives": str(tmp_path / "archives"), "results": str(tmp_path / "results")}
        return load_study("rehearsal", {"tasks": [str(file)], **places, **changes}, config)

    return load


def test_it_is_generated_prepared_audited_and_evaluated(study, config: Path) -> None:
    generating = study(generated={"coins": 24})
    assert generating.tasks == ["coins"]
    manifest = prepare(generating, "coins", config)
    layout = Layout.of(generating)
    assert manifest.generated
    assert [len(manifest.of(split)) for split in manifest.splits] == [18, 4, 2]
    audit = json.loads(layout.audit("coins").read_text())
    assert audit["findings"] == []
    assert "# Audit of Coins" in layout.audit("coins").with_suffix(".md").read_text()
    data = SegmentationDataset(manifest, layout.prepared("coins"), "train", 64)
    assert 0.01 < np.mean([data[i][1].float().mean() for i in range(len(data))]) < 0.5
    for path in evaluate_controls(generating, "coins"):
        record = read_record(path)
        assert record.images == {"test": 2}
        assert record.metrics["test"].keys() == {"S_measure", "IoU", "Dice"}


def test_its_official_archive_is_asked_for_and_found(study, config: Path, tmp_path: Path) -> None:
    settings = study()
    with pytest.raises(ArchiveError, match=r"Coins is missing(.|\n)*example\.org/coins"):
        prepare(settings, "coins", config)
    names = {"coins": "coins.zip"}
    generate_blobs(get_benchmark("coins"), names, tmp_path / "archives", 30, seed=1)
    manifest = prepare(settings, "coins", config)
    assert [len(manifest.of(split)) for split in manifest.splits] == [22, 5, 3]


def test_blobs_are_the_same_for_every_count(study, tmp_path: Path, kit) -> None:
    study()
    coins = get_benchmark("coins")
    few, again, many = (
        generate_blobs(coins, {"coins": "coins.zip"}, tmp_path / name, count, seed=2)[0]
        for name, count in (("few", 4), ("again", 4), ("many", 9))
    )
    assert few.read_bytes() == again.read_bytes()
    files = kit.unzipped(many)
    assert len(files) == 18
    assert all(files[name] == data for name, data in kit.unzipped(few).items())


def test_a_run_on_it(study, config: Path) -> None:
    """Trained and evaluated as any other task is."""
    from naslora.evaluation.evaluate import evaluate
    from naslora.training.train import train

    settings = study(
        generated={"coins": 16},
        methods=["lora"],
        seeds=[0],
        training={"epochs": 1, "architecture": {"start_epoch": 0}},
        sam={"backbone": "tiny", "image_size": 64, "checkpoint": "random"},
    )
    prepare(settings, "coins", config)
    train(settings, "coins", "lora", 0)
    record = evaluate(settings, "coins", "lora", 0)
    assert record.status == "done"
    assert record.metrics["test"].keys() == {"S_measure", "IoU", "Dice"}


def test_the_command_of_the_guide(
    naslora: Callable[..., tuple[int, str, str]], config: Path, file: Path
) -> None:
    command = re.search(r"^naslora (prepare .*)$", SECTION.replace("\\\n", ""), re.MULTILINE)
    assert command
    words = [*command[1].split(), "--set", "results=out"]
    code, output, errors = naslora(*words, folder=file.parents[1])
    assert (code, errors) == (0, "")
    assert "40 images" in output
    assert Manifest.model_validate_json(
        Path("out/rehearsal/manifests/coins.json").read_text()
    ).generated


def test_a_benchmark_without_layout_or_generator_is_not_generated(
    study, file: Path, config: Path
) -> None:
    text = file.read_text()
    file.write_text(text.replace("    layout =", "    other ="))
    with pytest.raises(SettingsError, match="coins: its class declares no layout") as caught:
        prepare(study(generated={"coins": 4}), "coins", config)
    assert "declare `layout`" in str(caught.value)


def test_parts_of_the_layout_are_the_split(study, file: Path, config: Path) -> None:
    text = file.read_text()
    pairs = 'Pairs("coins/{0}/*.jpg", "coins/{0}/*_mask.png", "{0}")'
    layout = ", ".join(pairs.format(part) for part in ("train", "val", "test"))
    file.write_text(re.sub(r"layout = .*", f"layout = ({layout})", text))
    manifest = prepare(study(generated={"coins": 30}), "coins", config)
    assert [len(manifest.of(split)) for split in manifest.splits] == [21, 6, 3]
    for sample in manifest.samples:
        assert f"/{sample.split}/" in sample.image
        assert sample.mask == sample.image.replace(".jpg", "_mask.png")


@pytest.mark.parametrize("pattern", ["images/*/*.jpg", "images/x*.jpg", "images"])
def test_patterns_that_are_none(pattern: str) -> None:
    with pytest.raises(ValueError, match="is not a pattern like"):
        Pairs(pattern, "masks/*.png")
