"""`naslora export` on a trained run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel

from naslora.evaluation.runs import load_run
from naslora.sam.building import build_sam
from naslora.sam.checkpoints import load_checkpoint
from naslora.study.layout import Layout
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
    assert "there already" in errors
