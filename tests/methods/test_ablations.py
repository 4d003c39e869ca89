"""The ablations of the shipped studies are variants that can be trained, saved and merged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from naslora.core.errors import SettingsError
from naslora.methods.merge import merge
from naslora.methods.registry import adapt, get_method, trainable_parameters
from naslora.methods.state import load_adapter, save_adapter
from naslora.nas.cell import cells
from naslora.nas.settings import PAPER_COUNT
from naslora.sam.building import Sam, build_sam
from naslora.sam.image_encoder import Block
from naslora.study.settings import RunSettings, load_study

Build = Callable[..., Sam]
STUDIES = {name: load_study(name) for name in ("rehearsal", "paper")}  # linear cells, and DARTS'
OTHER_CELLS = {
    (name, key): study.run(study.tasks_of(key)[0], key, 0)
    for name, study in STUDIES.items()
    for key, variant in study.variants.items()
    if variant.settings
}
EVERY = pytest.mark.parametrize("run", OTHER_CELLS.values(), ids=map("-".join, OTHER_CELLS))


@EVERY
def test_every_trained_parameter_gets_a_gradient(
    adapted: Build, images: Any, run: RunSettings
) -> None:
    sam = adapted(run.method, run.method_settings)
    sam(images()).masks.square().sum().backward()
    for name, parameter in trainable_parameters(sam).items():
        if "mask_decoder" not in name:
            assert parameter.grad is not None, name
            assert bool(parameter.grad.isfinite().all()), name
            assert bool((parameter.grad != 0).any()), name


@EVERY
def test_comes_back_from_its_file_and_merges(
    adapted: Build, plain: Build, images: Any, run: RunSettings, tmp_path: Path
) -> None:
    sam = adapted(run.method, run.method_settings)
    expected = sam(images()).masks.detach()
    save_adapter(sam, tmp_path / "adapter.safetensors")
    loaded = plain()
    load_adapter(loaded, tmp_path / "adapter.safetensors")
    assert torch.equal(loaded(images()).masks, expected)
    if run.method_settings.get("style") == "darts":
        with pytest.raises(SettingsError, match="darts"):
            merge(loaded, "collapsed")
        return
    merged = merge(loaded, "collapsed")
    torch.testing.assert_close(merged(images()).masks, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("study", "variant"), OTHER_CELLS)
def test_differs_from_the_method_itself(study: str, variant: str) -> None:
    run = OTHER_CELLS[study, variant]
    method = get_method(run.method)
    own = STUDIES[study].method_settings.get(run.method, {})
    assert method.parse(run.method_settings) != method.parse(own)


def test_the_paper_s_study_trains_the_cells_that_have_its_counts() -> None:
    study = STUDIES["paper"]
    counts = {}
    for name in ("nas_lora", "nas_pc_lora", "nas_lora_linear", "nas_pc_lora_linear"):
        assert study.tasks_of(name) == study.tasks
        run = study.run("kvasir", name, 0)
        with torch.device("meta"):
            sam = build_sam("vit_h", 1024)
            adapt(sam, run.method, run.method_settings)
        counts[name] = sum(p.numel() for p in trainable_parameters(sam).values())
    assert counts == {
        "nas_lora": 4_016_000,
        "nas_pc_lora": 4_009_344,
        "nas_lora_linear": 4_004_992,
        "nas_pc_lora_linear": 4_002_176,
    }
    for name in ("nas_lora", "nas_pc_lora"):
        assert study.method_settings[name] == PAPER_COUNT
    assert get_method("nas_lora").parse(
        study.run("kvasir", "nas_lora_linear", 0).method_settings
    ) == get_method("nas_lora").parse({})


def test_the_cells_of_each_ablation(plain: Build) -> None:
    found: dict[str, tuple[list[int], set[tuple[Any, ...]]]] = {}
    for (study, name), run in OTHER_CELLS.items():
        if study == "rehearsal":
            sam = plain()
            adapt(sam, run.method, run.method_settings)
            blocks = [i for i, block in enumerate(sam.image_encoder.blocks) if _has_cells(block)]
            kinds = {
                (c.channels, c.num_selected, len(c.operation_names)) for c in cells(sam).values()
            }
            found[name] = blocks, kinds
    every = [0, 1, 2, 3]
    assert found == {
        "no_convolution": (every, {(3, 2, 4)}),
        "no_pooling": (every, {(3, 2, 6)}),
        "no_skip_zero": (every, {(3, 2, 6)}),
        "rank_6": (every, {(6, 4, 8)}),
        "rank_12": (every, {(12, 8, 8)}),
        "rank_24": (every, {(24, 16, 8)}),
        "layers_first_half": ([0, 1], {(3, 2, 8)}),
        "layers_last_half": ([2, 3], {(3, 2, 8)}),
        "channels_1_of_3": (every, {(3, 1, 8)}),
    }


def _has_cells(block: Any) -> bool:
    assert isinstance(block, Block)
    return bool(cells(block))


@pytest.mark.parametrize("half", ["first_half", "last_half"])
def test_half_of_vit_h_has_half_of_the_adapters_and_the_whole_decoder(half: str) -> None:
    counts = {}
    for layers in (None, half):
        with torch.device("meta"):
            sam = build_sam("vit_h", 1024)
            adapt(sam, "nas_pc_lora", {"layers": layers})
        counts[layers] = sum(p.numel() for p in trainable_parameters(sam).values())
    decoder = 3_505_536
    assert 2 * (counts[half] - decoder) == counts[None] - decoder
