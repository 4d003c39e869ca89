"""What docs/own_images.md shows runs as it stands there, on a small SAM."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from naslora.methods.state import load_adapted_sam
from naslora.nas.cell import operation_shares
from naslora.sam.building import build_sam
from naslora.sam.checkpoints import save_checkpoint

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "own_images.md").read_text(encoding="utf-8")
SMALL = {
    "sam_vit_b_01ec64": "own",
    '"vit_b"': '"tiny"',
    "SIZE = 1024": "SIZE = 64",
    'load_study("paper")': 'load_study("paper", '
    '{"training.epochs": 2, "training.architecture.start_epoch": 1})',
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five pairs of images and masks, a photo and a checkpoint, beside the settings."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").symlink_to(ROOT / "config")
    torch.manual_seed(0)
    save_checkpoint(build_sam("tiny", 64), tmp_path / "own.pth")
    rng = np.random.default_rng(0)
    for kind, suffix, shape in (("images", "jpg", (50, 70, 3)), ("masks", "png", (50, 70))):
        (tmp_path / "train" / kind).mkdir(parents=True)
        for index in range(5):
            pixels = rng.integers(0, 2, shape, dtype=np.uint8) * np.uint8(255)
            Image.fromarray(pixels).save(tmp_path / "train" / kind / f"{index}.{suffix}")
    Image.fromarray(rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)).save(tmp_path / "photo.jpg")
    return tmp_path


def run(block: str) -> dict[str, Any]:
    for old, new in SMALL.items():
        block = block.replace(old, new)
    names: dict[str, Any] = {}
    exec(block, names)
    return names


def test_it_trains_and_predicts(
    folder: Path, naslora: Callable[..., tuple[int, str, str]], capfd: pytest.CaptureFixture[str]
) -> None:
    predict, train = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    sam = run(train)["sam"]
    assert len(capfd.readouterr().out.splitlines()) == 2
    assert any(max(shares) - min(shares) > 1e-4 for shares in operation_shares(sam).values())
    images = torch.rand(1, 3, 64, 64) * 255
    loaded = load_adapted_sam(folder / "adapter.safetensors", folder / "own.pth")
    torch.testing.assert_close(loaded(images).masks, sam.cpu().eval()(images).masks)
    probability = run(predict)["probability"]
    assert probability.shape == (40, 30)

    command = re.search(r"```\nnaslora (.*?)```", PAGE, re.DOTALL)
    assert command
    words = shlex.split(command[1].replace("\\\n", ""))
    files = {"--adapter": "adapter.safetensors", "--checkpoint": "own.pth", "--output": "masks"}
    for option, name in files.items():
        words[words.index(option) + 1] = str(folder / name)
    own = [str(folder / "train" / "images"), str(folder / "photo.jpg")]
    words = [words[0], *own, *words[3:]]
    code, output, errors = naslora(*words)
    assert (code, errors) == (0, "")
    assert "6 masks" in output
    mask = np.asarray(Image.open(folder / "masks" / "photo.png"))
    assert ((mask == 255) == (probability > 0.5)).mean() > 0.999
