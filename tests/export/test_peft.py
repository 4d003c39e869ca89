"""Adapters that HF PEFT loads, with equal outputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor

from naslora.core.errors import SettingsError
from naslora.export.exporting import export
from naslora.sam.building import Sam

CASES: list[tuple[str, dict[str, Any]]] = [
    ("lora", {}),
    ("lora", {"rank": 2, "lora_alpha": 5.0, "layers": [1]}),
    ("lora", {"projections": ["q", "v"]}),
    ("dora", {"magnitude": "output"}),
    ("dora", {"magnitude": "output", "projections": ["v"], "lora_alpha": 6.0}),
    ("vera", {"rank": 8}),
    ("vera", {"rank": 8, "projections": ["q", "v"]}),
    ("vera", {"rank": 8, "projections": None}),
]


@pytest.mark.parametrize(("method", "settings"), CASES)
def test_peft_loads_it_with_equal_outputs(
    method: str,
    settings: dict[str, Any],
    adapted: Callable[..., Sam],
    plain: Callable[..., Sam],
    batch: Tensor,
    tmp_path: Path,
) -> None:
    sam = adapted(method, settings)
    told: list[str] = []
    out = export(sam, "peft", tmp_path / "adapter", log=told.append)
    assert "PeftModel.from_pretrained" in told[-1]
    assert sorted(p.name for p in out.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    base = plain()
    with torch.no_grad():
        expected, before = sam(batch).masks, base(batch).masks
        found = PeftModel.from_pretrained(base, str(out)).eval()(batch).masks
    assert (expected - before).abs().max() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert sam.adaptation is not None  # the SAM itself stays as it is


def test_with_the_original_decoder_and_classes(
    adapted: Callable[..., Sam], plain: Callable[..., Sam], batch: Tensor, tmp_path: Path
) -> None:
    for values in ({"decoder": "original"}, {"classes": 3, "mask_tokens": 4}):
        sam = adapted("lora", **values)
        out = export(sam, "peft", tmp_path / next(iter(values)))
        with torch.no_grad():
            expected = sam(batch)
            found = PeftModel.from_pretrained(plain(**values), str(out)).eval()(batch)
        for one, other in zip(found, expected, strict=True):
            if isinstance(other, Tensor):
                torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("dora", "one magnitude for each output"),
        ("nas_pc_lora", "PEFT has no NAS-PC-LoRA"),
        ("conv_lora", "PEFT has no Conv-LoRA"),
        ("mona", "PEFT has no Mona"),
    ],
)
def test_what_peft_has_no_layer_for(
    method: str, message: str, adapted: Callable[..., Sam], tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        export(adapted(method), "peft", tmp_path / "adapter")
    assert caught.value.remedy
    assert not list(tmp_path.iterdir())
