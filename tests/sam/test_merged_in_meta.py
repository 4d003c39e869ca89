"""An exact merge leaves a plain SAM: Meta's own code loads it, and predicts the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from naslora.methods.merge import merge
from naslora.methods.registry import adapt, trainable_parameters
from naslora.sam.building import build_sam
from naslora.sam.checkpoints import save_checkpoint

SIZE = 64


@pytest.mark.parametrize("method", ["lora", "dora", "vera", "bitfit"])
def test_meta_loads_a_merged_sam(
    method: str,
    meta_sam: Callable[[str, int], Any],
    randomise: Callable[..., None],
    tmp_path: Path,
) -> None:
    meta = meta_sam("tiny", SIZE)
    sam = build_sam("tiny", SIZE, decoder="original").eval()
    sam.load_state_dict(meta.state_dict())
    images = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * 255
    with torch.inference_mode():
        before = sam(images).masks
    adapt(sam, method)
    randomise(torch.nn.ParameterList(trainable_parameters(sam).values()), seed=2)
    with torch.inference_mode():
        adapted = sam(images).masks
    assert not torch.allclose(adapted, before, atol=1e-2)

    save_checkpoint(merge(sam), tmp_path / "merged.pth")
    weights = torch.load(tmp_path / "merged.pth", weights_only=True)
    meta.load_state_dict(weights, strict=True)
    batch = [{"image": image, "original_size": (SIZE, SIZE)} for image in images]
    found = torch.cat([one["low_res_logits"] for one in meta(batch, multimask_output=True)])
    torch.testing.assert_close(found, adapted[:, 1:], atol=1e-4, rtol=1e-4)
