"""What README.md shows is true: its Python, its commands, its counts, its links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from naslora.cli import app
from naslora.methods.state import load_adapter
from naslora.report.parameters import count_parameters
from naslora.sam.building import build_sam
from naslora.sam.checkpoints import save_checkpoint
from naslora.sam.inference import semantic_probabilities

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_its_python_runs_on_a_small_sam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    plain = build_sam("tiny", 64)
    save_checkpoint(plain, tmp_path / "own.pth")
    block = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert block
    code = (
        block[1]
        .replace("sam_vit_b_01ec64", "own")
        .replace('"vit_b"', '"tiny"')
        .replace("512", "64")
    )
    images = torch.rand(2, 3, 64, 64) * 255
    names = {"images": images, "height": 50, "width": 70}
    exec(code, names)
    assert names["probability"].shape == (2, 1, 50, 70)
    fresh = build_sam("tiny", 64)
    fresh.load_state_dict(plain.state_dict())
    load_adapter(fresh, tmp_path / "adapter.safetensors")
    again = semantic_probabilities(fresh.eval()(images), (50, 70))
    torch.testing.assert_close(again, names["probability"], atol=1e-5, rtol=1e-5)


def test_its_counts_are_the_programs() -> None:
    counted = {count.trainable for count in count_parameters("vit_h")}
    listed = [int(n.replace(",", "")) for n in re.findall(r"\| ([\d,]{7,}) \|", README)]
    assert len(listed) == 12
    assert set(listed) <= counted


def test_its_files_exist_and_its_commands_too() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    for link in links:
        assert link.startswith("https://") or (ROOT / link).exists(), link
    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert set(re.findall(r"`naslora (\w+)", README)) <= commands
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
