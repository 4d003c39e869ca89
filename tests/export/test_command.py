"""`naslora export` on a trained run."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel

from naslora.evaluation.runs import load_run
from naslora.export.sharing import write_shared
from naslora.sam.building import build_sam
from naslora.sam.checkpoints import load_checkpoint
from naslora.study.layout import Layout
from naslora.study.records import read_receipt, read_record
from naslora.study.settings import Study

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(trained_study: Study) -> Path:
    return Layout.of(trained_study).adapter("kvasir", "lora", 0).parent


def test_a_run_s_adapter_for_peft(
    naslora: Run, folder: Path, trained_study: Study, tmp_path: Path
) -> None:
    out = tmp_path / "peft"
    code, output, errors = naslora("export", str(folder), "--to", "peft", "--out", str(out))
    assert (code, errors) == (0, "")
    assert f"peft: {out}" in output
    run = load_run(folder).sam
    plain = build_sam(run.backbone, run.image_size).eval()
    load_checkpoint(plain, Layout.of(trained_study).backbone())
    images = torch.rand(1, 3, *run.image_size) * 255
    with torch.no_grad():
        expected = run(images).masks
        found = PeftModel.from_pretrained(plain, str(out)).eval()(images).masks
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_what_cannot_be_is_one_message(naslora: Run, folder: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "sam.pth")
    code, _, errors = naslora("export", str(folder), "--to", "meta", "--out", out)
    assert code == 1
    assert errors.startswith("error: this SAM has the semantic decoder")
    code, _, errors = naslora("export", str(tmp_path), "--to", "onnx", "--out", out)
    assert code == 1
    assert "there is no adapter.safetensors here" in errors
    code, _, errors = naslora("export", str(folder), "--to", "meta", "--out", str(folder))
    assert code == 1
    assert "already exists" in errors


def test_a_folder_to_hand_on(
    naslora: Run, folder: Path, trained_study: Study, tmp_path: Path
) -> None:
    layout, out = Layout.of(trained_study), tmp_path / "shared"
    code, output, errors = naslora("export", str(folder), "--to", "adapter", "--out", str(out))
    assert (code, errors) == (0, "")
    assert f"adapter: {out}" in output
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md",
        "adapter.safetensors",
        "training.json",
    ]
    card = (out / "README.md").read_text(encoding="utf-8")
    receipt = read_receipt(folder / "training.json")
    record = read_record(layout.record("kvasir", "lora", 0))
    assert receipt.adapter is not None
    assert receipt.adapter.sha256 in card
    assert "Generated in the style of Kvasir, " in card
    blank = read_record(layout.record("kvasir", "control_blank", 0)).metrics["test"]
    score = record.metrics["test"]["S_measure"]
    best = max(
        read_record(path).metrics["test"]["S_measure"]
        for path in (layout.records / "kvasir").glob("control_*/seed0.json")
    )
    assert best >= blank["S_measure"]
    images = record.images["test"]
    assert f"| test ({images}) | S | {100 * score:.1f} | {100 * best:.1f} |" in card
    checkpoint = Layout.of(trained_study).backbone()
    assert load_run(out, checkpoint).sam.backbone == "tiny"


PUBLISHED = Path(__file__).parents[2] / "results" / "sample"


@pytest.mark.parametrize("method", ["lora", "mona", "nas_pc_lora"])
def test_the_published_cards_are_those_of_the_published_records(
    method: str, tmp_path: Path
) -> None:
    for name in ("records", "manifests"):
        (tmp_path / name).symlink_to(PUBLISHED / name)
    run = tmp_path / "runs" / "isic2017" / method / "seed0"
    run.parent.mkdir(parents=True)
    run.symlink_to(PUBLISHED / "adapters" / f"isic2017_{method}")
    card = (write_shared(run, tmp_path / "shared", print) / "README.md").read_text("utf-8")
    assert card == (run / "README.md").read_text("utf-8")
    scores = (PUBLISHED / "tables" / "scores.md").read_text("utf-8").split("ISIC 2017")[1]
    best = re.search(r"Mean mask, best threshold *\| +([\d.]+) ", scores)
    assert best
    assert re.search(rf"\| IoU \| [\d.]+ \| {best[1]} \|", card)


def test_a_card_without_a_record_says_so(naslora: Run, folder: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(folder, alone)
    out = tmp_path / "shared"
    code, output, _ = naslora("export", str(alone), "--to", "adapter", "--out", str(out))
    assert code == 0
    assert "no scores" in output
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "## Scores" not in card
    assert "no commercial use" in card  # without the manifest, the images count as Kvasir-SEG's
    other = ["export", str(alone), "--to", "adapter", "--out", str(tmp_path / "other")]
    adapter = alone / "adapter.safetensors"
    adapter.write_bytes(adapter.read_bytes() + b" ")
    code, _, errors = naslora(*other)
    assert code == 1
    assert "the adapter does not match its receipt" in errors
    (alone / "training.json").unlink()
    code, _, errors = naslora(*other)
    assert code == 1
    assert "can be handed on as it is" in errors  # as the folder of a fit, without a receipt
    adapter.unlink()
    code, _, errors = naslora(*other)
    assert code == 1
    assert "there is no adapter.safetensors here" in errors
