"""The inputs of shared/cases/predict: all kinds of images in one folder, and the mask of each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from naslora.core.errors import AuditError
from naslora.evaluation.predict import PredictOptions, predict_files
from tests.evaluation.brightness import Brightness

ROOT = Path(__file__).parents[2]
PLACES = [Path(os.environ.get("NASLORA_CASES", ROOT.parent / "shared" / "cases"))]
PLACES += [ROOT.parents[1] / "shared" / "cases"]
SIDE = 512
LARGE = "orthophoto_9500.png"


@pytest.mark.slow
def test_a_folder_of_every_kind(tmp_path: Path) -> None:
    cases = next((path / "predict" for path in PLACES if (path / "predict").is_dir()), None)
    if cases is None:
        pytest.skip("no folder of cases; set NASLORA_CASES to it")
    sam: Any = Brightness(side=SIDE)
    lines: list[str] = []
    out = tmp_path / "masks"
    message = r"1 of 12 images have no mask:(.|\n)*broken\.png"
    with pytest.raises(AuditError, match=message) as caught:
        predict_files(sam, [cases], out, PredictOptions(training_side=SIDE), lines.append)
    assert caught.value.exit_code == 1
    masks = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    assert set(masks) == {
        "a picture.v2.png",
        "cmyk.png",
        "float.png",
        "grey12in16.png",
        "grey16.png",
        "jpeg2000.png",
        "orthophoto_9500.png",
        "p1/001.png",
        "p2/001.png",
        *(f"three_pages_page{n}.png" for n in (1, 2, 3)),
        "wide.png",
    }
    text = "\n".join(lines)
    assert "pixels of type float32" in text
    assert "pixels of type uint16" in text
    sizes = {name: Image.open(path).size for name, path in masks.items() if name != LARGE}
    assert sizes.pop("wide.png") == (4000, 600)
    assert {sizes.pop(f"p{n}/001.png") for n in (1, 2)} == {(20, 20)}
    assert set(sizes.values()) == {(128, 96)}

    # The range of an image in floating point is its own; a threshold then divides it.
    pixels = tifffile.imread(cases / "float.tif")
    low, high = np.percentile(pixels, [0.1, 99.9])
    found = np.asarray(Image.open(masks["float.png"])) > 0
    assert np.mean(found == (pixels > (low + high) / 2)) > 0.98

    # Tiles of the model's own size neither lose nor move objects of 20 pixels.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Image, "MAX_IMAGE_PIXELS", None)
        expected = np.asarray(Image.open(cases / LARGE)) > 127
        assert np.array_equal(np.asarray(Image.open(masks[LARGE])) > 0, expected)
