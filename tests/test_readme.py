"""What README.md shows is true: its commands, its counts, its links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from naslora.cli import app
from naslora.methods.registry import adapt
from naslora.methods.state import save_adapter
from naslora.report.tables.parameters import count_parameters
from naslora.sam.building import build_sam
from naslora.sam.checkpoints import save_checkpoint

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_its_command_predicts(tmp_path: Path, naslora: Callable[..., tuple[int, str, str]]) -> None:
    sam = build_sam("tiny", 64)
    save_checkpoint(sam, tmp_path / "sam.pth")
    adapt(sam, "lora")
    save_adapter(sam, tmp_path / "adapter.safetensors")
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (70, 50)).save(tmp_path / "photos" / "one.jpg")
    command = re.search(r"^naslora (predict .*(?:\\\n.*)+?)\n```", README, re.MULTILINE)
    assert command
    words = shlex.split(command[1].replace("\\\n", " "))
    files = {"--adapter": "adapter.safetensors", "--checkpoint": "sam.pth", "--output": "masks"}
    for option, name in files.items():
        words[words.index(option) + 1] = str(tmp_path / name)
    words[words.index("photos/")] = str(tmp_path / "photos")
    code, _, errors = naslora(*words)
    assert code == 0, errors
    with Image.open(tmp_path / "masks" / "one.png") as mask:
        assert mask.size == (70, 50)


def test_its_counts_are_the_programs() -> None:
    counted = {count.trainable for count in count_parameters("vit_h")}
    listed = [int(n.replace(",", "")) for n in re.findall(r"\| ([\d,]{7,}) \|", README)]
    assert len(listed) == 12
    assert set(listed) <= counted


def test_its_files_exist_and_its_commands_too() -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", README)
    assert links
    for link in links:
        assert link.startswith("https://") or (ROOT / link).exists(), link
    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert set(re.findall(r"(?:`|^)naslora (\w+)", README, re.MULTILINE)) <= commands
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
