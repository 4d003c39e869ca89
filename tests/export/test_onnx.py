"""ONNX models, against torch by onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

from naslora.core.errors import StateError
from naslora.export import onnx as onnx_format
from naslora.export.exporting import export
from naslora.nas.settings import PAPER_COUNT
from naslora.sam.building import Sam
from naslora.sam.inference import semantic_probabilities

Build = Callable[..., Sam]
CASES: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("lora", {}, {"classes": 3, "mask_tokens": 4}, "LoRA is merged into the weights"),
    ("nas_pc_lora", {}, {}, "the cells of NAS-PC-LoRA are collapsed"),
    ("nas_lora", PAPER_COUNT, {}, "NAS-LoRA stays as it was trained"),
    ("conv_lora", {}, {}, "Conv-LoRA stays as it was trained"),
    ("sam_adapter", {}, {}, "SAM-Adapter stays"),
    ("mona", {}, {}, "Mona stays"),
    ("vpt", {}, {}, "VPT stays"),
]


def run(path: Path, images: Tensor) -> Tensor:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {"images": images.float().numpy()})
    return torch.from_numpy(scores)


@pytest.mark.parametrize(
    ("method", "settings", "values", "told"),
    [
        pytest.param(*case, id=case[0], marks=[] if index < 2 else [pytest.mark.slow])
        for index, case in enumerate(CASES)
    ],
)
def test_onnxruntime_gives_the_scores(
    method: str,
    settings: dict[str, Any],
    values: dict[str, Any],
    told: str,
    adapted: Build,
    batch: Tensor,
    tmp_path: Path,
) -> None:
    """Of one, two and four images."""
    sam = adapted(method, settings, depth=2, **values)
    lines: list[str] = []
    path = export(sam, "onnx", tmp_path / "sam.onnx", log=lines.append)
    assert lines[0].startswith(told)
    assert "differ from torch's by at most" in lines[-1]
    assert [p.name for p in tmp_path.iterdir()] == ["sam.onnx"]
    for images in (batch[:1], batch, torch.cat([batch, batch.flip(-1)])):
        with torch.no_grad():
            expected = semantic_probabilities(sam(images), sam.image_size)
        torch.testing.assert_close(run(path, images), expected, rtol=1e-4, atol=1e-5)
    properties = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert "0..255" in properties["images"]
    assert ("3 classes" in properties["scores"]) == (sam.classes == 3)


def test_scores_that_differ_are_not_written(
    adapted: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_format, "TOLERANCE", -1.0)
    with pytest.raises(StateError, match=r"onnxruntime's scores differ from torch's"):
        export(adapted("decoder_only", depth=1), "onnx", tmp_path / "sam.onnx")
    assert not list(tmp_path.iterdir())


def test_scores_that_are_nan_are_not_written(
    adapted: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Session:
        def __init__(self, *_: object, **__: object) -> None:
            pass

        def run(self, _: None, inputs: dict[str, Any]) -> list[Any]:
            count, _, *size = inputs["images"].shape
            return [np.full((count, 1, *size), np.nan, np.float32)]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    with pytest.raises(StateError, match="differ from torch's by up to nan"):
        export(adapted("decoder_only", depth=1), "onnx", tmp_path / "sam.onnx")
    assert not list(tmp_path.iterdir())


def test_large_weights_go_to_a_second_file(
    adapted: Build, batch: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_format, "_LARGEST", 1000)
    sam = adapted("decoder_only", depth=1)
    path = export(sam, "onnx", tmp_path / "out" / "sam.onnx")
    assert sorted(p.name for p in path.parent.iterdir()) == ["sam.onnx", "sam.onnx.data"]
    moved = path.parent.rename(tmp_path / "moved") / "sam.onnx"
    with torch.no_grad():
        expected = semantic_probabilities(sam(batch), sam.image_size)
    np.testing.assert_allclose(run(moved, batch).numpy(), expected.numpy(), atol=1e-5)
