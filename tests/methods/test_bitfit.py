"""BitFit trains the encoder's biases, all of them and nothing else of it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from segment_anything.modeling.common import LayerNorm2d
from torch import nn

from naslora.methods.registry import adapt, trainable_parameters
from naslora.sam.building import Sam, build_sam


def test_count_of_the_paper() -> None:
    with torch.device("meta"):
        sam = build_sam("vit_h", 1024)
    adapt(sam, "bitfit")
    trained = trainable_parameters(sam)
    assert sum(p.numel() for p in trained.values()) == 3_957_888
    assert sum(p.numel() for n, p in trained.items() if "image_encoder" in n) == 452_352


def test_trains_the_bias_of_every_layer(plain: Callable[..., Sam]) -> None:
    sam = plain()
    adapt(sam, "bitfit")
    kinds = (nn.Linear, nn.Conv2d, nn.LayerNorm, LayerNorm2d)
    biases = [
        layer.bias
        for layer in sam.image_encoder.modules()
        if isinstance(layer, kinds) and layer.bias is not None
    ]
    trained = [p for p in sam.image_encoder.parameters() if p.requires_grad]
    assert {id(p) for p in trained} == {id(p) for p in biases}
    assert len(biases) == 1 + 4 * 6 + 2  # patches; norms, qkv, proj and MLP of 4 blocks; neck


def test_every_bias_learns(plain: Callable[..., Sam], images: Callable) -> None:
    """Except the keys' biases, which add the same number to all logits of a query."""
    sam = plain().train()
    adapt(sam, "bitfit")
    sam(images()).masks.square().mean().backward()
    for name, parameter in trainable_parameters(sam.image_encoder).items():
        assert parameter.grad.abs().sum() > 0, name
        if name.endswith("attn.qkv.bias"):
            query, key, value = (part.abs().max() for part in parameter.grad.chunk(3))
            assert key < 1e-4 * min(query, value)
