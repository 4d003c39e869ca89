"""NAS-LoRA and NAS-PC-LoRA: counts, places, domains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from naslora.core.errors import SettingsError
from naslora.methods.layers import LowRankLinear
from naslora.methods.registry import adapt, get_method, trainable_parameters
from naslora.nas.cell import NASCell, architecture_parameters, cells, operation_shares
from naslora.nas.settings import PAPER_COUNT
from naslora.sam.building import Sam, build_sam
from naslora.sam.windows import window_partition, window_unpartition

Build = Callable[..., Sam]


@pytest.mark.parametrize(
    ("method", "settings", "count", "cell"),
    [
        ("nas_lora", PAPER_COUNT, 4_016_000, 296),
        ("nas_pc_lora", PAPER_COUNT, 4_009_344, 192),
        ("nas_pc_lora", {**PAPER_COUNT, "ratio": 1 / 3}, 4_003_200, 96),
        ("nas_lora", {}, 4_004_992, 248),
        ("nas_pc_lora", {}, 4_002_176, 160),
    ],
)
def test_counts(method: str, settings: Mapping[str, Any], count: int, cell: int) -> None:
    with torch.device("meta"):
        sam = build_sam("vit_h", 1024)
    adapt(sam, method, settings)
    assert sum(p.numel() for p in trainable_parameters(sam).values()) == count
    found = cells(sam)
    assert len(found) == 32 * len(settings.get("projections", ["qkv"]))
    assert {sum(p.numel() for p in c.parameters()) for c in found.values()} == {cell}


def test_without_its_cell_it_is_lora(adapted: Build, plain: Build, images: Any) -> None:
    """A cell whose only operation is skip hands the low-rank map on."""
    sam = adapted("nas_lora", {"operations": ["skip"]})
    lora = plain()
    adapt(lora, "lora")
    state = {name.replace(".middle", ""): t for name, t in sam.state_dict().items()}
    state = {name: t for name, t in state.items() if not name.endswith("alpha")}
    lora.load_state_dict(state)
    with torch.no_grad():
        torch.testing.assert_close(sam(images()).masks, lora(images()).masks)


def test_domain_window_is_the_cell_after_partition(adapted: Build) -> None:
    sam = adapted("nas_lora")
    attention = sam.image_encoder.blocks[0].attn
    seen: list[tuple[int, ...]] = []
    cell = next(iter(cells(attention).values()))
    cell.register_forward_hook(lambda _, inputs, output: seen.append(tuple(inputs[0].shape)))
    attention(torch.randn(2, 9, 7, attention.qkv.in_features))
    assert seen == [(8, 6, 6, 3)]


def test_domain_image_looks_over_the_windows(adapted: Build) -> None:
    sam = adapted("nas_lora", {"domain": "image"})
    attention = sam.image_encoder.blocks[0].attn
    x = torch.randn(2, 9, 7, attention.qkv.in_features)
    seen: list[Tensor] = []
    mix = attention._mix

    def spy(qkv: Tensor, prompts: Tensor | None) -> Tensor:
        seen.append(qkv)
        out: Tensor = mix(qkv, prompts)
        return out

    attention._mix = spy
    attention(x)
    (windows,) = seen
    whole = attention.qkv(x)
    torch.testing.assert_close(window_unpartition(windows, (9, 7)), whole)
    padding = window_partition(torch.ones(2, 9, 7, 1), 6)[..., 0] == 0
    assert padding.any()
    expected = attention.qkv.bias.expand(int(padding.sum()), -1)
    torch.testing.assert_close(windows[padding], expected)


def test_domains_agree_without_neighbours_and_differ_with_them(adapted: Build, images: Any) -> None:
    def masks(**settings: Any) -> Tensor:
        with torch.no_grad():
            result: Tensor = adapted("nas_lora", settings)(images()).masks
        return result

    alone = {"operations": ["skip", "zero"]}
    torch.testing.assert_close(masks(**alone), masks(**alone, domain="image"))
    assert (masks() - masks(domain="image")).abs().max() > 1e-4


def test_every_cell_starts_with_its_own_alpha(plain: Build) -> None:
    sam = plain()
    adapt(sam, "nas_pc_lora", {"projections": ["q", "k", "v"]})
    alphas = architecture_parameters(sam)
    assert len(alphas) == 12
    assert len({tuple(alpha.tolist()) for alpha in alphas}) == 12
    assert all(name.startswith("image_encoder.blocks.") for name in operation_shares(sam))


def test_settings_reach_the_cell(plain: Build) -> None:
    sam = plain()
    settings = {"operations": ["avg_pool_3x3", "skip"], "rank": 6, "count_padding": False}
    adapt(sam, "nas_pc_lora", settings)
    for cell in cells(sam).values():
        assert isinstance(cell, NASCell)
        assert (cell.channels, cell.num_selected) == (6, 4)
        assert cell.operation_names == ("avg_pool_3x3", "skip")
        assert cell.decompose(cell.operation_weights())[1] == [0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ratio": 0}, "ratio"),
        ({"operations": []}, "operation"),
        ({"operations": "skip"}, "operations"),
        ({"operations": ["conv"]}, "conv"),
        ({"style": "relu"}, "style"),
        ({"depth": 0}, "depth"),
        ({"conv_bias": True}, "darts"),
        ({"domain": "map"}, "domain"),
        ({"domain": "image", "style": "darts"}, "padding"),
        ({"rank": 0}, "rank"),
    ],
)
def test_refuses(values: Mapping[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        get_method("nas_lora").parse(values)


@pytest.mark.parametrize("projections", [None, ("q", "v")])
@pytest.mark.parametrize("grid", [(4, 8), (5, 7), (2, 3)])
def test_windows_without_padded_work_equal_padded_windows(
    projections: tuple[str, ...] | None, grid: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    layer = LowRankLinear(nn.Linear(6, 12), 3, projections=projections, middle=lambda: NASCell(3))
    nn.init.normal_(layer.bias)
    for _, branch in layer.named_branches():
        nn.init.normal_(branch.lora_B)
    layer.double()
    results = []
    for partition_first in (True, False):
        x = torch.randn(2, *grid, 6, generator=torch.Generator().manual_seed(1)).double()
        x.requires_grad_()
        y = layer(window_partition(x, 4)) if partition_first else layer.in_windows(x, 4)
        layer.zero_grad()
        (y * torch.arange(y.numel()).view(y.shape)).sum().backward()
        results.append([y, x.grad, *(p.grad for p in layer.branches.parameters())])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
