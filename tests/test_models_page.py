"""The examples of docs/how-to/models.md run unchanged, on small models."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import segment_anything
import timm
import torch
import transformers

from naslora.sam.backbones import BACKBONES
from naslora.sam.building import Sam, build_sam

PAGE = (Path(__file__).parents[1] / "docs" / "how-to" / "models.md").read_text(encoding="utf-8")
META, HUGGING_FACE, TIMM = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def run(block: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(block, names)
    return names


def test_metas_sam(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(checkpoint: str) -> torch.nn.Module:
        assert checkpoint == "sam_vit_b_01ec64.pth"
        return build_sam("tiny", 64, decoder="original")

    monkeypatch.setitem(segment_anything.sam_model_registry, "vit_b", build)
    names = run(META)
    assert names["masks"].shape == (3, 480, 640)
    assert names["sam"].adaptation.method == "nas_lora"


def test_hugging_faces_sam(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = BACKBONES["tiny"]
    vision = {
        "hidden_size": tiny.embed_dim,
        "output_channels": tiny.prompt_embed_dim,
        "num_hidden_layers": tiny.depth,
        "num_attention_heads": tiny.num_heads,
        "image_size": 64,
        "patch_size": tiny.patch_size,
        "window_size": tiny.window_size,
        "global_attn_indexes": list(tiny.global_attn_indexes),
        "mlp_dim": 4 * tiny.embed_dim,
        "num_pos_feats": tiny.prompt_embed_dim // 2,
    }
    config = transformers.SamConfig(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": tiny.prompt_embed_dim, "image_size": 64},
        mask_decoder_config={
            "hidden_size": tiny.prompt_embed_dim,
            "mlp_dim": tiny.decoder_mlp_dim,
            "iou_head_hidden_dim": tiny.prompt_embed_dim,
        },
    )
    model = transformers.SamModel(config)
    monkeypatch.setattr(transformers.SamModel, "from_pretrained", lambda name: model)
    assert isinstance(run(HUGGING_FACE)["sam"], Sam)


def test_a_vision_transformer_of_timms(monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model

    def without_download(name: str, pretrained: bool, **options: Any) -> torch.nn.Module:
        assert pretrained
        return create(name, pretrained=False, img_size=28, **options)

    monkeypatch.setattr(timm, "create_model", without_download)
    names = run(TIMM)
    assert names["vit"](torch.zeros(1, 3, 28, 28)).shape == (1, 10)
    assert len(names["trained"]) > 12
