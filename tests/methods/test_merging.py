"""Modes of merging, and what the dense one costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from naslora.core.errors import SettingsError
from naslora.methods.layers import LowRankLinear
from naslora.methods.merge import merge, plan_dense_merge
from naslora.nas.cell import NASCell, cells
from naslora.nas.dense import ESTIMATORS, Estimator
from naslora.sam.building import Sam

Build = Callable[..., Sam]
KEY = "image_encoder.blocks.1.attn.qkv"


def masks(sam: Sam, images: Tensor) -> Tensor:
    with torch.no_grad():
        result: Tensor = sam(images).masks
    return result


@pytest.mark.parametrize("projections", [None, ["q", "v"]])
def test_lora_with_projections_merges_exactly(
    projections: list[str] | None, adapted: Build, images: Any
) -> None:
    sam = adapted("lora", {"projections": projections, "lora_alpha": 6})
    before = masks(sam, images())
    merge(sam)
    torch.testing.assert_close(masks(sam, images()), before, atol=1e-5, rtol=1e-4)
    assert type(sam.get_submodule(KEY)) is nn.Linear


def test_merging_draws_no_random_numbers(adapted: Build) -> None:
    sam = adapted("lora")
    state = torch.get_rng_state()
    merge(sam)
    assert torch.equal(torch.get_rng_state(), state)


def test_modes_that_a_method_does_not_have(adapted: Build) -> None:
    with pytest.raises(SettingsError, match="NAS-LoRA has no merge 'exact'"):
        merge(adapted("nas_lora"))
    with pytest.raises(SettingsError, match="it has exact"):
        merge(adapted("lora"), "dense")
    with pytest.raises(SettingsError, match="has no NAS cells"):
        plan_dense_merge(adapted("lora"))


def test_a_plain_sam_stays_as_it_is(plain: Build) -> None:
    sam = plain()
    assert merge(sam) is sam


def test_collapsed_has_no_cells_and_fewer_operations(adapted: Build) -> None:
    sam = merge(adapted("nas_lora"), "collapsed")
    assert not cells(sam)
    with pytest.raises(SettingsError, match="collapsed already"):
        merge(sam, "dense")


def test_darts_does_not_collapse(adapted: Build) -> None:
    sam = adapted("nas_lora", {"style": "darts"})
    with pytest.raises(SettingsError, match="darts"):
        merge(sam, "collapsed")
    assert len(cells(sam)) == 4


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("settings", [{}, {"projections": ["q", "v"]}, {"domain": "image"}])
def test_reported_error_is_the_error(
    settings: dict[str, Any], estimator: Estimator, adapted: Build, images: Any
) -> None:
    """Measured in the second block, behind a block that has a cell too."""
    sam = adapted("nas_pc_lora", settings)
    inputs: list[Tensor] = []
    layer = sam.get_submodule(KEY)
    assert isinstance(layer, LowRankLinear)
    hook = layer.register_forward_hook(lambda _, args, output: inputs.append(args[0]))
    batch = images(2)
    with torch.no_grad():
        sam.encode(batch)
    hook.remove()
    plan = plan_dense_merge(sam, estimator, [batch[:1], batch[1:]])
    x = inputs[0]
    plain = layer.merged(plan.matrices[KEY])
    exact = layer(x) - layer.base(x)
    wrong = plain(x) - layer(x)
    for name, _ in layer.named_branches():
        part = layer.parts[name]
        error = wrong[..., part].norm() / exact[..., part].norm()
        assert plan.errors[f"{KEY}.{name}"] == pytest.approx(error.item(), rel=1e-3)
    assert all(isinstance(cell, NASCell) for cell in cells(sam).values())


def test_least_squares_is_the_closest(adapted: Build, images: Any) -> None:
    batch = images(2)
    plans = {e: plan_dense_merge(adapted("nas_lora"), e, [batch]).errors for e in ESTIMATORS}
    for key, error in plans["least_squares"].items():
        assert 0 < error < 1
        assert error <= min(plans["centre"][key], plans["sum"][key])


def test_merge_uses_the_estimator(adapted: Build, images: Any) -> None:
    batch = images(2)
    plan = plan_dense_merge(adapted("nas_lora"), "least_squares", [batch])
    sam = merge(adapted("nas_lora"), "dense", estimator="least_squares", images=[batch])
    layer = adapted("nas_lora").get_submodule(KEY)
    assert isinstance(layer, LowRankLinear)
    expected = layer.merged(plan.matrices[KEY]).weight
    assert torch.equal(sam.get_submodule(KEY).weight, expected)  # type: ignore[arg-type]


def test_darts_merges_by_least_squares(adapted: Build, images: Any) -> None:
    sam = adapted("nas_lora", {"style": "darts"})
    merge(sam, "dense", estimator="least_squares", images=[images()])
    assert masks(sam, images()).isfinite().all()


def test_measuring_needs_images_and_keeps_the_mode(adapted: Build, images: Any) -> None:
    sam = adapted("nas_lora", {"style": "darts"}).train()
    with pytest.raises(SettingsError, match="images"):
        plan_dense_merge(sam, "least_squares")
    with pytest.raises(SettingsError, match="`images` is empty"):
        plan_dense_merge(adapted("nas_lora"), "centre", [])
    before = {name: tensor.clone() for name, tensor in sam.state_dict().items()}
    plan_dense_merge(sam, "least_squares", [images()])
    assert sam.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in sam.state_dict().items())
