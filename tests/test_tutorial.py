"""The tutorial's commands, as they stand there, on fewer images and epochs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "tutorial.md").read_text(encoding="utf-8")
FEWER = {
    "--count 60": "--count 14",
    "--epochs 12": "--epochs 1 --image-size 64 --set training.accelerator=cpu",
    "--epochs 6": "--epochs 1 --image-size 64 --set training.accelerator=cpu",
    "--seeds 2": "--seeds 1",
}


@pytest.mark.slow
def test_every_command_runs(naslora: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    blocks = re.findall(r"^```\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines() if line]
    assert all(line.startswith("naslora ") for line in lines)
    assert [shlex.split(line)[1] for line in lines] == ["example", "fit", "compare", "predict"]
    for line in lines:
        for many, few in FEWER.items():
            line = line.replace(many, few)
        code, _, errors = naslora(*shlex.split(line)[1:], folder=tmp_path)
        assert code == 0, f"{line}\n{errors}"
    assert len(list((tmp_path / "masks").glob("*_overlay.png"))) == 14
    assert (tmp_path / "runs" / "leaves" / "own" / "report.html").is_file()
