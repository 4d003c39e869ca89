"""Masks of images that no benchmark lists."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from naslora.core.errors import (
    AuditError,
    CheckpointError,
    DivergedError,
    SettingsError,
    StateError,
)
from naslora.data.benchmarks.contract import get_benchmark
from naslora.data.manifest import read_manifest
from naslora.evaluation.image_files import find_images
from naslora.evaluation.loading import trained_sam
from naslora.evaluation.predict import PredictOptions, predict_files, predict_image, to_device
from naslora.evaluation.predictions import predictions
from naslora.evaluation.predictions import test_images as images_of
from naslora.methods import registry
from naslora.methods.registry import adapt, trainable_parameters
from naslora.methods.state import load_adapted_sam, save_adapter
from naslora.sam.building import Sam, build_sam
from naslora.sam.checkpoints import save_checkpoint
from naslora.study.layout import Layout
from naslora.study.records import read_receipt
from naslora.study.settings import Study

TASK = "kvasir"
Own = Callable[..., tuple[Sam, Path, Path]]
Run = Callable[..., tuple[int, str, str]]
METHOD = """
from naslora.core.validation import Settings
from naslora.methods.registry import register


class OwnSettings(Settings):
    pass


@register("own_method", title="Own method", settings=OwnSettings)
def apply(sam, settings):
    sam.image_encoder.neck.requires_grad_(True)
"""


@pytest.fixture
def own(tmp_path: Path) -> Own:
    """Adapted SAMs with random trained weights, each with its adapter file and its checkpoint."""

    def make(method: str = "nas_pc_lora", classes: int = 1) -> tuple[Sam, Path, Path]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            sam = build_sam("tiny", (64, 48), classes=classes)
            save_checkpoint(sam, tmp_path / "sam.pth")
            adapt(sam, method)
            with torch.no_grad():
                for parameter in trainable_parameters(sam).values():
                    parameter += 0.05 * torch.randn(parameter.shape)
        save_adapter(sam, tmp_path / "adapter.safetensors")
        return sam.eval(), tmp_path / "adapter.safetensors", tmp_path / "sam.pth"

    return make


def draw(path: Path, size: tuple[int, int] = (70, 50), seed: int = 0, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)  # type: ignore[arg-type]
    return path


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


@pytest.mark.parametrize("variant", ["lora", "nas_lora"])
def test_masks_are_those_of_the_evaluation(
    variant: str, trained_study: Study, tmp_path: Path, naslora: Run
) -> None:
    layout = Layout.of(trained_study)
    manifest = read_manifest(layout.manifest(TASK))
    samples = images_of(trained_study, manifest, "test").samples
    folder, masks, maps = (tmp_path / name for name in ("images", "masks", "maps"))
    folder.mkdir()
    for sample in samples:
        shutil.copy(layout.prepared(TASK) / sample.image, folder)
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.jpg").write_bytes(b"")
    run = layout.adapter(TASK, variant, 0).parent  # its SAM lies in the study's folder
    words = ["predict", str(run), str(folder), "--device", "cpu", "--tile", "0"]
    code, output, errors = naslora(*words, "--out", str(masks))
    assert (code, errors) == (0, "")
    assert f"{len(samples)} files: {masks}" in output
    assert naslora(*words, "--out", str(maps), "--save", "probability")[0] == 0

    receipt = read_receipt(layout.receipt(TASK, variant, 0))
    sam = trained_sam(trained_study, get_benchmark(TASK), variant, 0, receipt)
    expected = list(predictions(trained_study, manifest, "test", sam))
    assert len(list(masks.iterdir())) == len(expected)
    for sample, probability in zip(samples, expected, strict=True):
        name = f"{Path(sample.image).stem}.png"
        mask, map_ = read(masks / name), read(maps / name.replace(".png", "_probability.png"))
        assert mask.shape == map_.shape == probability.shape
        assert set(np.unique(mask)) <= {0, 255}
        assert ((mask == 255) == (probability > 0.5)).mean() > 0.999
        assert np.abs(map_ / 255 - probability).max() < 0.6 / 255


def test_a_multi_class_mask_holds_class_numbers_and_shows_them(own: Own, tmp_path: Path) -> None:
    sam, adapter, checkpoint = own(classes=4)
    path = draw(tmp_path / "images" / "a.png")
    (mask,) = predict_files(load_adapted_sam(adapter, checkpoint), [path], tmp_path / "masks")
    expected = predict_image(sam, Image.open(path))
    assert expected.dtype == np.uint8
    picture = Image.open(mask)
    assert picture.mode == "P"
    assert np.array_equal(np.asarray(picture), expected)
    palette = np.asarray(picture.getpalette()).reshape(-1, 3)[:4]
    assert len(np.unique(palette, axis=0)) == 4
    with pytest.raises(SettingsError, match="no single foreground probability"):
        predict_files(sam, [path], tmp_path / "maps", PredictOptions(["probability"]))
    assert not (tmp_path / "maps").exists()


def test_any_size_any_grey_and_upright(own: Own, tmp_path: Path) -> None:
    sam, *_ = own()
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    lying = draw(tmp_path / "lying.jpg", (70, 50), exif=exif, quality=95)
    grey = tmp_path / "grey.png"
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(4, 64)).save(grey)
    masks = predict_files(sam, [lying, grey], tmp_path / "masks")
    assert [read(mask).shape for mask in masks] == [(70, 50), (4, 64)]
    upright = Image.open(lying).transpose(Image.Transpose.ROTATE_270)
    assert np.array_equal(read(masks[0]) == 255, predict_image(sam, upright) > 0.5)


def test_unreadable_images_are_named_and_the_others_get_their_masks(
    own: Own, tmp_path: Path
) -> None:
    sam, *_ = own()
    folder, masks = tmp_path / "images", tmp_path / "masks"
    for name in ("a.png", "d.png"):
        draw(folder / name)
    (folder / "b.jpg").write_bytes(draw(tmp_path / "whole.jpg").read_bytes()[:300])
    Image.fromarray(np.full((8, 8), np.nan, np.float32)).save(folder / "c.tif")
    with pytest.raises(AuditError, match="2 of 4 images have no mask") as caught:
        predict_files(sam, [folder], masks)
    assert str(folder / "b.jpg") in caught.value.what
    assert "c.tif holds 64 values that are not finite" in caught.value.what
    assert sorted(path.name for path in masks.iterdir()) == ["a.png", "d.png"]


def test_nothing_is_replaced_unasked(own: Own, tmp_path: Path) -> None:
    sam, *_ = own()
    path = draw(tmp_path / "images" / "a.jpg")
    (truth := tmp_path / "masks" / "a.png").parent.mkdir()
    truth.write_bytes(b"drawn by hand")
    with pytest.raises(SettingsError, match="already exists") as caught:
        predict_files(sam, [path], truth.parent)
    assert "--overwrite" in str(caught.value)
    assert truth.read_bytes() == b"drawn by hand"
    predict_files(sam, [path], truth.parent, PredictOptions(overwrite=True))
    assert read(truth).shape == (50, 70)
    same = draw(tmp_path / "images" / "b.png")
    with pytest.raises(SettingsError, match="would replace an image"):
        predict_files(sam, [same], tmp_path / "images", PredictOptions(overwrite=True))


def test_images_that_are_not_there(tmp_path: Path, own: Own) -> None:
    (empty := tmp_path / "empty").mkdir()
    one, other = draw(tmp_path / "a.jpg"), draw(tmp_path / "a.png")
    for paths, message in (
        ([], "no image to predict"),
        ([tmp_path / "gone.jpg"], "no such image or folder"),
        ([empty], "no image in this folder"),
    ):
        with pytest.raises(SettingsError, match=message):
            find_images(paths)
    assert [file.path for file in find_images([one, tmp_path, one])] == [one, other]
    with pytest.raises(SettingsError, match=r"would have the same mask, a\.png"):
        predict_files(own()[0], [one, other], tmp_path / "masks")


def test_predictions_that_are_not_finite_are_no_mask(own: Own, tmp_path: Path) -> None:
    sam, *_ = own()
    with torch.no_grad():
        sam.mask_decoder.mask_tokens.weight.fill_(torch.nan)
    with pytest.raises(DivergedError, match="not finite"):
        predict_files(sam, [draw(tmp_path / "a.jpg")], tmp_path / "masks")
    assert not (tmp_path / "masks").exists()


def test_an_adapter_says_what_it_needs(own: Own, tmp_path: Path) -> None:
    sam, adapter, checkpoint = own("conv_lora")
    before = torch.random.get_rng_state()
    loaded = load_adapted_sam(adapter, checkpoint)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not loaded.training
    images = torch.rand(1, 3, 64, 48) * 255
    assert torch.equal(loaded(images).masks, sam(images).masks)
    with pytest.raises(CheckpointError, match="pre-trained tiny, and no checkpoint") as caught:
        load_adapted_sam(adapter)
    assert caught.value.where == adapter
    save_checkpoint(build_sam("tiny", 64), tmp_path / "other.pth")
    with pytest.raises(StateError, match="trained on weights that differ"):
        load_adapted_sam(adapter, tmp_path / "other.pth")


def test_a_method_from_scratch_needs_no_checkpoint(own: Own) -> None:
    sam, adapter, _ = own("scratch")
    images = torch.rand(1, 3, 64, 48) * 255
    assert torch.equal(load_adapted_sam(adapter)(images).masks, sam(images).masks)


def test_a_method_from_outside_is_named_by_its_file(
    own: Own, tmp_path: Path, naslora: Run, registries: Callable[[], None]
) -> None:
    (file := tmp_path / "own_method.py").write_text(METHOD)
    registry.load_method_files([file])
    _, adapter, checkpoint = own("own_method")
    registries()
    words = ["predict", str(adapter), str(draw(tmp_path / "a.jpg"))]
    words += ["--checkpoint", str(checkpoint), "--out", str(tmp_path / "masks")]
    code, _, errors = naslora(*words)
    assert code == 1
    assert "error: cannot restore the method: no method named 'own_method'" in errors
    code, _, errors = naslora(*words, "--method-file", str(file))
    assert (code, errors) == (0, "")
    assert read(tmp_path / "masks" / "a.png").shape == (50, 70)


def test_a_device_that_is_not_there(own: Own) -> None:
    sam, *_ = own()
    for name in ("mps", "abacus"):
        with pytest.raises(SettingsError, match=f"cannot use device {name}"):
            to_device(sam, name)
    assert to_device(sam, "auto").pixel_mean.device.type in ("cpu", "cuda")
