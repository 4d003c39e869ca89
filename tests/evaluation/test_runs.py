"""Loading a run from its folder, and finding the SAM that it was trained on."""

from __future__ import annotations

from pathlib import Path

import pytest

from naslora.core.errors import CheckpointError
from naslora.evaluation.runs import ADAPTER_NAME, load_run
from naslora.methods.registry import adapt
from naslora.methods.state import save_adapter
from naslora.sam.checkpoints import load_checkpoint, save_checkpoint
from tests.sams import plain_sam


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """An adapter, and its SAM in another folder."""
    (folder := tmp_path / "run").mkdir()
    (tmp_path / "elsewhere").mkdir()
    sam = plain_sam((64, 64))
    save_checkpoint(sam, tmp_path / "elsewhere" / "sam.pth")
    load_checkpoint(sam, tmp_path / "elsewhere" / "sam.pth")
    adapt(sam, "lora")
    save_adapter(sam, folder / ADAPTER_NAME, image_side=100)
    return folder


def test_the_settings_beside_an_adapter_name_its_sam(run: Path) -> None:
    checkpoint = run.parent / "elsewhere" / "sam.pth"
    (run / "study.yaml").write_text(f"sam.checkpoint: {checkpoint}\n", encoding="utf-8")
    loaded = load_run(run)
    assert loaded.sam.checkpoint is not None
    assert loaded.sam.checkpoint.name == "sam.pth"
    assert loaded.training_side == 100


@pytest.mark.parametrize("content", [b"sam: [", b"\xff\xfe\x00", b"- a list"])
def test_damaged_settings_leave_the_other_places(run: Path, content: bytes) -> None:
    (run / "study.yaml").write_bytes(content)
    with pytest.raises(CheckpointError, match="no matching checkpoint was found"):
        load_run(run)
    (run / "sam.pth").symlink_to(run.parent / "elsewhere" / "sam.pth")
    assert load_run(run).training_side == 100
