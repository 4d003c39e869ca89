"""`naslora.fit`, `naslora.load` and `naslora.predict`, as docs/how-to/own_images.md shows them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import naslora
from naslora.core.errors import AuditError, SettingsError
from naslora.evaluation.runs import LoadedRun
from naslora.methods.registry import adapt
from naslora.methods.state import save_adapter
from naslora.own.example import write_example
from naslora.sam.building import build_sam
from naslora.sam.checkpoints import load_checkpoint, save_checkpoint

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose decoder was moved at random, trained on images of 100 px."""
    folder = tmp_path_factory.mktemp("run")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_checkpoint(build_sam("tiny", 64), folder / "sam.pth")
        sam = build_sam("tiny", 64)
        load_checkpoint(sam, folder / "sam.pth")
        adapt(sam, "lora")
        with torch.no_grad():
            for parameter in sam.mask_decoder.parameters():
                if parameter.requires_grad:
                    parameter += 0.1 * torch.randn_like(parameter)
    save_adapter(sam, folder / "adapter.safetensors", image_side=100)
    return folder


def picture(height: int, width: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_importing_naslora_imports_nothing_heavy() -> None:
    code = (
        "import sys, naslora; print(dir(naslora)); "
        "print(sorted({'torch', 'numpy', 'pandas', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    names, heavy = done.stdout.splitlines()
    assert heavy == "[]", done.stderr
    assert all(f"'{name}'" in names for name in naslora.__all__)


def test_a_file_a_picture_and_an_array_are_alike(run: Path, tmp_path: Path) -> None:
    pixels = picture(60, 90)
    file = tmp_path / "photo.png"
    Image.fromarray(pixels).save(file)
    loaded = naslora.load(run, device="cpu")
    mask = naslora.predict(loaded, file)
    assert (mask.dtype, mask.shape) == (np.uint8, (60, 90))
    assert 0 < mask.mean() < 1
    for image in (str(file), pixels, Image.fromarray(pixels)):
        assert np.array_equal(naslora.predict(loaded, image), mask)
    assert np.array_equal(naslora.predict(run, file), mask)
    probability = naslora.predict(loaded, file, probability=True)
    assert probability.dtype == np.float32
    assert np.array_equal(probability > 0.5, mask == 1)


def test_it_predicts_what_the_command_writes(
    run: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    command = request.getfixturevalue("naslora")
    deep = picture(60, 90)[..., 0].astype(np.uint16) * 40 + 300
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.fromarray(picture(150, 250)).save(tmp_path / "large.png")  # above twice 100: tiles
    for name in ("deep.png", "large.png"):
        out = tmp_path / name.removesuffix(".png")
        code, _, errors = command("predict", str(run), str(tmp_path / name), "--out", str(out))
        assert code == 0, errors
        written = np.asarray(Image.open(out / name)) > 0
        assert np.array_equal(naslora.predict(run, tmp_path / name) > 0, written)
    whole = naslora.predict(run, tmp_path / "large.png", tile=0)
    assert not np.array_equal(whole > 0, written)
    assert np.array_equal(naslora.predict(run, tmp_path / "large.png", tile=100) > 0, written)


def test_the_size_of_the_training_images_decides_on_tiles(run: Path) -> None:
    loaded = naslora.load(run)
    assert loaded.training_side == 100
    pixels = picture(150, 190)  # more than twice the model's 64 px, less than twice 100
    assert np.array_equal(naslora.predict(loaded, pixels), naslora.predict(loaded, pixels, tile=0))


def test_what_cannot_be_predicted_is_refused(run: Path, tmp_path: Path) -> None:
    pages = [Image.fromarray(picture(20, 20)) for _ in range(3)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    loaded = naslora.load(run)
    with pytest.raises(AuditError, match="has 3 pages"):
        naslora.predict(loaded, tmp_path / "pages.tif")
    with pytest.raises(AuditError, match=r"this image cannot be(.|\n)*broken\.png"):
        naslora.predict(loaded, tmp_path / "broken.png")
    with pytest.raises(ValueError, match="uint8"):
        naslora.predict(loaded, picture(20, 20).astype(np.float32))  # type: ignore[arg-type]
    several = LoadedRun(build_sam("tiny", 64, classes=3).eval())
    with pytest.raises(ValueError, match="3 classes"):
        naslora.predict(several, picture(20, 20), probability=True)


def test_options_are_checked(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="invalid options for masks"):
        naslora.fit(tmp_path, tmp_path / "run", masks={"ignored": 255})


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/how-to/own_images.md"])
def test_the_documented_lines(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registries: Callable[[], None]
) -> None:
    block = next(
        block
        for block in re.findall(
            r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL
        )
        if "naslora.fit(" in block
    )
    assert len([line for line in block.splitlines() if line]) <= 5
    write_example(tmp_path / "leaves", count=14)
    shutil.copyfile(tmp_path / "leaves" / "images" / "000.jpg", tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    short = re.sub(r'"runs/leaves"(, epochs=\d+)?\)', '"runs/leaves", epochs=2)', block, count=1)
    exec(short, names)
    assert names["mask"].shape == Image.open("photo.jpg").size[::-1]
