"""Checkpoints that Meta's package loads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor, sam_model_registry
from torch import Tensor

from naslora.core.errors import SettingsError
from naslora.export.exporting import export
from naslora.methods.registry import adapt, trainable_parameters
from naslora.sam.building import Sam, build_sam

Build = Callable[..., Sam]


@pytest.mark.slow
def test_meta_s_registry_loads_it_and_its_predictor_runs(tmp_path: Path) -> None:
    """ViT-B with LoRA, trained at 512 px: loaded strictly, with points and with a box."""
    torch.manual_seed(0)
    sam = build_sam("vit_b", 512, decoder="original").eval()
    adapt(sam, "lora", seed=1)
    with torch.no_grad():
        for parameter in trainable_parameters(sam).values():
            parameter += 0.01 * torch.randn_like(parameter)
    told: list[str] = []
    out = export(sam, "meta", tmp_path / "sam_vit_b.pth", log=told.append)
    assert any("interpolated from 512 x 512 pixels to 1024 x 1024" in line for line in told)
    meta = sam_model_registry["vit_b"](checkpoint=str(out))
    adapted_weight = meta.image_encoder.blocks[3].attn.qkv.weight
    layer = sam.image_encoder.blocks[3].attn.qkv
    torch.testing.assert_close(adapted_weight, layer.merged().weight)
    assert (adapted_weight - layer.weight).abs().max() > 1e-4
    predictor = SamPredictor(meta)
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    predictor.set_image(image)
    for prompt in (
        {"point_coords": np.array([[30, 40]]), "point_labels": np.array([1])},
        {"box": np.array([10, 10, 60, 80])},
    ):
        masks, scores, _ = predictor.predict(**prompt)
        assert masks.shape == (3, 90, 120)
        assert np.isfinite(scores).all()


@pytest.mark.parametrize("method", ["lora", "dora", "vera", "bitfit", "decoder_only", "scratch"])
def test_the_weights_give_the_same_masks(
    method: str, adapted: Build, plain: Build, batch: Tensor, tmp_path: Path
) -> None:
    sam = adapted(method, {"rank": 4} if method == "vera" else {}, decoder="original")
    told: list[str] = []
    out = export(sam, "meta", tmp_path / "sam.pth", log=told.append)
    assert any("Meta's registry has no tiny" in line for line in told)
    other = plain(seed=5, decoder="original")
    other.load_state_dict(torch.load(out, weights_only=True), strict=True)
    with torch.no_grad():
        torch.testing.assert_close(other(batch).masks, sam(batch).masks, rtol=1e-4, atol=1e-5)
    assert sam.adaptation is not None


def test_the_semantic_decoder_has_no_place_in_it(adapted: Build, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="semantic decoder") as caught:
        export(adapted("lora"), "meta", tmp_path / "sam.pth")
    assert "sam.decoder: original" in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("method", ["conv_lora", "mona", "vpt", "sam_adapter"])
def test_a_method_that_does_not_merge(method: str, adapted: Build, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not merge into the weights") as caught:
        export(adapted(method, decoder="original"), "meta", tmp_path / "sam.pth")
    assert caught.value.remedy == "export to onnx"


def test_cells_merge_approximately_with_the_loss_printed(
    adapted: Build, plain: Build, batch: Tensor, tmp_path: Path
) -> None:
    from PIL import Image

    for index, image in enumerate(batch):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / f"{index}.png")
    sam = adapted("nas_pc_lora", decoder="original")
    out = tmp_path / "sam.pth"
    with pytest.raises(SettingsError, match="without changing its outputs") as caught:
        export(sam, "meta", out)
    assert "give an estimator" in str(caught.value)
    with pytest.raises(SettingsError, match="no images to measure"):
        export(sam, "meta", out, estimator="least_squares")
    with pytest.raises(SettingsError, match="LoRA has no cells"):
        export(adapted("lora", decoder="original"), "meta", out, estimator="sum", images=[tmp_path])
    told: dict[str, list[str]] = {}
    for estimator in ("centre", "sum", "least_squares"):
        lines: list[str] = []
        file = tmp_path / f"{estimator}.pth"
        export(sam, "meta", file, estimator=estimator, images=[tmp_path], log=lines.append)  # type: ignore[arg-type]
        told[estimator] = lines
        assert f"by the estimator {estimator}: the median error of" in lines[0]
        other = plain(seed=5, decoder="original")
        other.load_state_dict(torch.load(file, weights_only=True), strict=True)
        with torch.no_grad():
            changed = ((other(batch).masks[:, :1] > 0) != (sam(batch).masks[:, :1] > 0)).float()
        printed = float(lines[1].split("changes ")[1].split("%")[0])
        assert printed == pytest.approx(100 * changed.mean().item(), abs=3)
    medians = {
        name: float(lines[0].split("outputs is ")[1].split(" %")[0]) for name, lines in told.items()
    }
    assert 0 < medians["least_squares"] < min(medians["centre"], medians["sum"])


def test_what_is_there_stays(adapted: Build, tmp_path: Path) -> None:
    out = tmp_path / "sam.pth"
    out.write_text("mine")
    with pytest.raises(SettingsError, match="already exists"):
        export(adapted("lora"), "meta", out)
    assert out.read_text() == "mine"
    with pytest.raises(SettingsError, match="no format 'tflite'"):
        export(adapted("lora"), "tflite", tmp_path / "x")  # type: ignore[arg-type]
