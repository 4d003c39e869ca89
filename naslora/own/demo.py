"""A page in the browser that shows what a run predicts for an image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from naslora.core.errors import SettingsError
from naslora.evaluation.mask_files import overlay, palette
from naslora.own.api import predict as predict_mask

if TYPE_CHECKING:
    from naslora.evaluation.runs import LoadedRun


def build_demo(run: LoadedRun, title: str) -> Any:
    """A Gradio page: drop an image, see its mask and an overlay.

    Args:
        run: the run, on the device that is to be used.
        title: of the page.

    Raises:
        SettingsError: Gradio is not installed.
    """
    try:
        import gradio
    except ImportError:
        raise SettingsError(
            "the page needs Gradio, which is not installed",
            remedy='pip install "naslora[demo]"',
        ) from None

    def predict(image: Image.Image | None) -> tuple[Image.Image, NDArray[np.uint8], str]:
        if image is None:
            raise gradio.Error("Drop an image first.")
        pixels = np.asarray(image.convert("RGB"))
        mask = predict_mask(run, pixels)
        share = np.count_nonzero(mask) / mask.size
        size = f"{pixels.shape[1]} x {pixels.shape[0]} pixels"
        return (
            _picture(mask, run),
            overlay(pixels, mask, run.sam.classes),
            f"{size}, {share:.1%} foreground",
        )

    with gradio.Blocks(title=title, analytics_enabled=False) as page:
        gradio.Markdown(f"# {title}")
        with gradio.Row():
            image = gradio.Image(type="pil", label="Image", sources=["upload", "clipboard"])
            mask = gradio.Image(type="pil", label="Mask", format="png")
            shown = gradio.Image(label="Overlay", format="png")
        line = gradio.Textbox(label="Result", interactive=False)
        image.upload(predict, image, [mask, shown, line])
        gradio.Button("Predict").click(predict, image, [mask, shown, line])
    return page


def _picture(mask: NDArray[np.uint8], run: LoadedRun) -> Image.Image:
    picture = Image.fromarray(mask)
    picture.putpalette(palette(run.sam.classes) if run.sam.classes > 1 else [0] * 3 + [255] * 3)
    return picture.convert("RGB")


def serve_demo(run: LoadedRun, folder: Path, port: int | None, open_browser: bool) -> None:
    """Serve the page on this machine until Ctrl-C."""
    page = build_demo(run, f"naslora: {folder.name}")
    page.launch(
        server_name="127.0.0.1", server_port=port, inbrowser=open_browser, share=False, quiet=False
    )
