"""A benchmark from CONTRIBUTING.md: its file, its line and its entry, followed word by word."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from naslora.core.errors import ArchiveError
from naslora.data.benchmarks.contract import BENCHMARKS, benchmark_names, get_benchmark
from naslora.data.dataset import SegmentationDataset
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
def config(tmp_path: Path, registries, monkeypatch: pytest.MonkeyPatch, kit) -> Iterator[Path]:
    """The file and the line in place; the folder of settings, with the entry."""
    line = re.search(r'`"(\w+)": "naslora\.data\.(\w+)",`', SECTION)
    assert line
    name, module = line.groups()
    (tmp_path / f"{module}.py").write_text(block("python"), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    BENCHMARKS.modules[name] = module
    folder = shutil.copytree(kit.root / "config", tmp_path / "config")
    with (folder / "archives.yaml").open("a", encoding="utf-8") as file:
        file.write(block("yaml"))
    yield folder
    sys.modules.pop(module, None)


@pytest.fixture
def study(tmp_path: Path, config: Path) -> Callable[..., Study]:
    (tmp_path / "archives").mkdir()

    def load(**changes: object) -> Study:
        places = {"archives": str(tmp_path / "archives"), "results": str(tmp_path / "results")}
        return load_study("rehearsal", {"tasks": ["coins"], **places, **changes}, config)

    return load


def test_it_is_generated_prepared_audited_and_evaluated(study, config: Path) -> None:
    assert "coins" in benchmark_names()
    generating = study(generated={"coins": 24})
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
    get_benchmark("coins").generate(tmp_path / "archives", 30, seed=1)
    assert len(prepare(settings, "coins", config).samples) == 30


def test_its_generator_keeps_its_promises(config: Path, tmp_path: Path, kit) -> None:
    coins = get_benchmark("coins")
    few, many = (coins.generate(tmp_path / str(n), n, seed=2)[0] for n in (4, 9))
    assert few.read_bytes() == coins.generate(tmp_path / "again", 4, seed=2)[0].read_bytes()
    files = kit.unzipped(many)
    assert all(files[name] == data for name, data in kit.unzipped(few).items())


def test_a_run_on_it(study, config: Path) -> None:
    """Trained and evaluated as any other task is."""
    from naslora.evaluation.evaluate import evaluate
    from naslora.training.loop import train

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


def test_the_commands_of_the_guide(
    naslora: Callable[..., tuple[int, str, str]], config: Path, monkeypatch, tmp_path: Path, kit
) -> None:
    command = re.search(r"^naslora (prepare .*)$", SECTION, re.MULTILINE)
    assert command
    monkeypatch.setattr("naslora.data.prepare.prepare.__defaults__", (config,))
    code, output, errors = naslora(*command[1].split(), "--set", f"results={tmp_path / 'out'}")
    assert (code, errors) == (0, "")
    assert "40 images" in output
    assert Manifest.model_validate_json(
        (tmp_path / "out" / "rehearsal" / "manifests" / "coins.json").read_text()
    ).generated
