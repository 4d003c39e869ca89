"""The page of `naslora demo`, in a real browser without a window."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from naslora.evaluation.runs import LoadedRun
from naslora.own.api import predict
from naslora.own.demo import build_demo
from naslora.sam.building import build_sam

_SECONDS = 120


@pytest.mark.slow
def test_an_image_that_is_dropped_gets_a_mask(browser: Any, tmp_path: Path) -> None:
    pytest.importorskip("gradio", reason="Gradio is not installed")
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        run = LoadedRun(build_sam("tiny", 64).eval(), training_side=100)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    page = build_demo(run, "naslora: a run")
    _, address, _ = page.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    try:
        browser.set_page_load_timeout(_SECONDS)
        browser.get(address)
        wait = WebDriverWait(browser, _SECONDS)
        wait.until(lambda driver: driver.find_elements(By.CSS_SELECTOR, "input[type=file]"))
        assert browser.find_element(By.TAG_NAME, "h1").text == "naslora: a run"
        field = browser.find_element(By.CSS_SELECTOR, "input[type=file]")
        field.send_keys(str(tmp_path / "photo.png"))

        def result(driver: Any) -> str:
            texts = driver.find_elements(By.TAG_NAME, "textarea")
            return next((t.get_property("value") for t in texts if t.get_property("value")), "")

        line = wait.until(result)
        wait.until(lambda driver: len(_pictures(driver)) == 3)
        mask = predict(run, pixels)
        assert line == f"90 x 60 pixels, {mask.mean():.1%} foreground"
        _photo, shown, overlay = (_drawn(browser, picture) for picture in _pictures(browser))
        assert np.array_equal(shown[..., 0] > 0, mask > 0)
        assert overlay.shape == pixels.shape
        severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        assert not [e for e in severe if address in e["message"] and "favicon" not in e["message"]]
    finally:
        page.close()


def _pictures(browser: Any) -> list[Any]:
    """Pictures on the page that are loaded: the photograph, the mask and the overlay."""
    found = browser.find_elements("css selector", "img")
    return [one for one in found if int(one.get_property("naturalWidth")) == 90]


def _drawn(browser: Any, picture: Any) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The pixels that the browser has decoded, (H, W, 3)."""
    data = browser.execute_script(
        "const c = document.createElement('canvas'); const i = arguments[0];"
        "c.width = i.naturalWidth; c.height = i.naturalHeight;"
        "c.getContext('2d').drawImage(i, 0, 0); return c.toDataURL('image/png').split(',')[1];",
        picture,
    )
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
