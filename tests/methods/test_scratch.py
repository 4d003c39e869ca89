"""Training from scratch frees all that a prediction depends on."""

from __future__ import annotations

from collections.abc import Callable

import torch

from naslora.methods.registry import adapt, get_method, method_names, trainable_parameters
from naslora.sam.building import Sam, build_sam


def test_counts() -> None:
    with torch.device("meta"):
        sam, original = build_sam("vit_h", 1024), build_sam("vit_h", 1024, decoder="original")
    assert sum(p.numel() for p in original.parameters()) == 641_090_608
    assert sum(p.numel() for p in sam.parameters()) == 640_669_645
    adapt(sam, "scratch")
    assert sum(p.numel() for p in trainable_parameters(sam).values()) == 640_531_840


def test_needs_no_checkpoint() -> None:
    assert [name for name in method_names() if not get_method(name).pretrained] == ["scratch"]


def test_trains_exactly_what_has_a_gradient(plain: Callable[..., Sam], images: Callable) -> None:
    sam = plain(classes=3).train()
    adapt(sam, "scratch")
    sam.requires_grad_(True)
    everything = {name for name, _ in sam.named_parameters()}
    prediction = sam(images(2))
    (prediction.masks.square().mean() + prediction.class_logits.square().mean()).backward()
    learning = {name for name, p in sam.named_parameters() if p.grad is not None}
    fresh = plain(classes=3)
    adapt(fresh, "scratch")
    assert set(trainable_parameters(fresh)) == learning
    assert learning < everything


def test_positions_come_from_the_seed(plain: Callable[..., Sam]) -> None:
    def positions(build_seed: int, seed: int) -> torch.Tensor:
        sam = plain(seed=build_seed)
        adapt(sam, "scratch", seed=seed)
        return sam.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix

    assert torch.equal(positions(0, 5), positions(1, 5))
    assert not torch.equal(positions(0, 5), positions(0, 6))
