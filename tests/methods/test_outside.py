"""A method from a single file outside the package: the one that CONTRIBUTING.md shows."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from naslora.core.errors import SettingsError
from naslora.evaluation.evaluate import evaluate
from naslora.methods.merge import merge
from naslora.methods.registry import adapt, load_method_files, trainable_parameters
from naslora.report.tables.catalogue import write_tables
from naslora.sam.building import build_sam
from naslora.study.layout import Layout
from naslora.study.records import read_receipt
from naslora.study.settings import Study
from naslora.training.train import train

GUIDE = Path(__file__).parents[2] / "CONTRIBUTING.md"


@pytest.fixture(scope="module")
def method_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    block = re.search(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert block
    path = tmp_path_factory.mktemp("methods") / "output_scale.py"
    path.write_text(block[1], encoding="utf-8")
    return path


def test_it_goes_through_the_pipeline_into_table_1(
    method_file: Path, copied: Callable[..., Study]
) -> None:
    study = copied({"methods": ["lora", str(method_file)]})
    assert study.methods == ["lora", "output_scale"]
    train(study, "kvasir", "output_scale", 0)
    record = evaluate(study, "kvasir", "output_scale", 0)
    write_tables(study, ["table1"])
    table = pd.read_csv(Layout.of(study).table("table1", "csv")).set_index("method")
    row = table.loc["output_scale"]
    assert row["title"] == "Output scale"
    assert row["kvasir_S_mean"] == pytest.approx(100 * record.metrics["test"]["S_measure"])
    assert row["kvasir_S_status"] == "done"
    assert table.loc["lora", "kvasir_S_status"] != "done"


def test_its_file_is_part_of_the_runs_settings(
    method_file: Path, tmp_path: Path, copied: Callable[..., Study]
) -> None:
    other = tmp_path / "output_scale.py"
    other.write_text(method_file.read_text() + "\n# changed\n")
    first, second = (
        copied({"methods": [str(path)]}).run("kvasir", "output_scale", 0).fingerprint()
        for path in (method_file, other)
    )
    assert first != second


def test_it_starts_as_the_identity_trains_its_scales_and_merges(method_file: Path) -> None:
    load_method_files([method_file])
    load_method_files([method_file])
    torch.manual_seed(0)
    sam = build_sam("tiny", 64).eval()
    images = torch.rand(2, 3, 64, 64) * 255
    plain = sam.encode(images)
    adapt(sam, "output_scale")
    assert torch.equal(sam.encode(images), plain)
    scales = [n for n in trainable_parameters(sam) if not n.startswith("mask_decoder")]
    assert len(scales) == 4
    assert all(name.endswith("attn.qkv.scale") for name in scales)
    with torch.no_grad():
        for name in scales:
            parameter = sam.get_parameter(name)
            parameter.add_(0.1 * torch.randn_like(parameter))
    changed = sam.encode(images)
    assert not torch.allclose(changed, plain, atol=1e-3)
    torch.testing.assert_close(merge(sam).encode(images), changed, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("gone.py", None, "not found"),
        ("empty_method.py", "", "registers no method named empty_method"),
        ("lora.py", "", "there is a method named lora already"),
        ("broken.py", "x = 1\n1 / 0\n", "line 2: ZeroDivisionError"),
    ],
)
def test_a_file_without_the_method_is_named(
    tmp_path: Path, name: str, text: str | None, message: str
) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(SettingsError, match=message) as caught:
        load_method_files([path])
    assert str(path) in str(caught.value)


def test_a_missing_file_is_told_before_anything_runs(copied: Callable[..., Study]) -> None:
    study = copied({"methods": ["nowhere/my_method.py"]})
    with pytest.raises(SettingsError, match="my_method is not there"):
        study.run("kvasir", "my_method", 0)
    assert not Layout.of(study).receipt("kvasir", "my_method", 0).exists()


def test_the_receipt_names_the_file_by_hash(
    method_file: Path, copied: Callable[..., Study]
) -> None:
    study = copied({"methods": [str(method_file)], "training": {"epochs": 1}})
    train(study, "kvasir", "output_scale", 0)
    receipt = read_receipt(Layout.of(study).receipt("kvasir", "output_scale", 0))
    assert receipt.settings["method_sha256"]
