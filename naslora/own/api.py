"""Loading and predicting from Python: `naslora.load`, `naslora.fit` and `naslora.predict`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from naslora.core.errors import AuditError
from naslora.core.validation import readable_errors
from naslora.data.images import UnreadableImageError
from naslora.data.own import OwnOptions
from naslora.evaluation.binary import THRESHOLD
from naslora.evaluation.image_files import read_pages
from naslora.evaluation.predict import check_tile, predict_image, to_device
from naslora.evaluation.predictions import Predicted
from naslora.evaluation.rescaling import check_finite, choose_rescaling
from naslora.evaluation.runs import LoadedRun, load_run
from naslora.evaluation.tiles import tile_size
from naslora.own.fit import Fit
from naslora.own.fit import fit as fit_study
from naslora.own.study import FitOptions

StrPath = str | PathLike[str]


def fit(
    data: StrPath,
    out: StrPath,
    method: str = "nas_pc_lora",
    *,
    backbone: str = "tiny",
    image_size: int | None = None,
    checkpoint: StrPath | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
    masks: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    log: Callable[[str], None] = print,
) -> Fit:
    """Adapt a SAM to images of your own, as `naslora fit` does.

    Args:
        data: a folder with `images` and `masks`; a CSV file with the columns image and mask, and
            perhaps split and group; or a COCO JSON file.
        out: the folder of the run; the same call resumes one that was stopped.
        method: a method by name, or the file of one.
        backbone: vit_h, vit_l, vit_b (Meta's weights), small or tiny (weights of this package).
        image_size: side of the square that images are resized to; by default one that fits the
            backbone and the hardware.
        checkpoint: a SAM to start from instead of the backbone's.
        epochs: maximum number of epochs.
        batch_size: images per step; by default as many as fit into memory.
        learning_rate: the learning rate; by default that of `naslora fit`.
        seed: the random seed of the run and of the split.
        masks: what the files do not show by themselves, such as `{"ignore": 255}`; see
            `naslora.data.own.OwnOptions`.
        settings: further settings of the study, such as `{"training.patience": 20}`.
        log: called with lines to print.

    Returns:
        The run's folder, its scores on the held-out images, and whether anything was learnt.

    Raises:
        AuditError: the images are not a data set, or masks are ambiguous; it says how to fix this.
        SettingsError: a setting is invalid, or `out` holds another run.
    """
    with readable_errors("invalid options for masks", OwnOptions):
        own = OwnOptions.model_validate(dict(masks or {}))
    options = FitOptions(
        backbone=backbone,
        image_size=image_size,
        checkpoint=None if checkpoint is None else str(checkpoint),
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        data=own,
        overrides=dict(settings or {}),
    )
    return fit_study(Path(data), Path(out), method, options, log)


def load(run: StrPath, checkpoint: StrPath | None = None, *, device: str = "auto") -> LoadedRun:
    """Load a trained run for prediction.

    Args:
        run: the folder of a run, or its `adapter.safetensors`.
        checkpoint: the SAM that the run started from; by default it is found by its hash.
        device: torch's name of a device; "auto" is a CUDA device if there is one, else the CPU.

    Raises:
        StateError: there is no adapter, or it is damaged.
        CheckpointError: the SAM is missing, or is not the one that the run started from.
        SettingsError: this machine has no such device.
    """
    loaded = load_run(Path(run), None if checkpoint is None else Path(checkpoint))
    to_device(loaded.sam, device)
    return loaded


def predict(
    run: LoadedRun | StrPath,
    image: StrPath | Image.Image | NDArray[np.uint8],
    *,
    probability: bool = False,
    tile: int | None = None,
) -> Predicted:
    """Predict the mask of one image, at the image's own size.

    For many files, `naslora.evaluation.predict.predict_files` writes the masks to a folder.

    Args:
        run: a run from `load`, or the folder of one.
        image: a file with one page, a PIL image, or a uint8 array (H, W, 3). Pixels of more than
            8 bits are rescaled from their 0.1 to their 99.9 percentile.
        probability: return foreground probabilities instead; only for a run of one class.
        tile: side of tiles in pixels, 0 for none. By default, an image of more than twice the size
            of the training images is cut into tiles of their size.

    Returns:
        uint8 (H, W): 1 for foreground, or the number of the class; 0 is background. With
        `probability`, float32 (H, W) in [0, 1].

    Raises:
        AuditError: the file is not an image, or has several pages.
        StateError, CheckpointError: see `load`.
        SettingsError: `tile` is negative, or the GPU's memory is too small.
        ValueError: the array is not uint8 (H, W, 3), or `probability` is set for a run of several
            classes.
    """
    check_tile(tile)
    loaded = run if isinstance(run, LoadedRun) else load(run)
    sam = loaded.sam
    if probability and sam.classes > 1:
        raise ValueError(
            f"this run has {sam.classes} classes, so there is no single foreground probability"
        )
    if isinstance(image, Image.Image):
        pixels = np.asarray(image.convert("RGB"))
    elif isinstance(image, np.ndarray):
        pixels = image
    else:
        pixels = _read(Path(image))
    if tile is None:
        tile = tile_size(pixels.shape[:2], loaded.training_side or max(sam.image_size))
    predicted = predict_image(sam, pixels, tile or None)
    if probability or sam.classes > 1:
        return predicted
    return (predicted > THRESHOLD).astype(np.uint8)


def _read(path: Path) -> NDArray[np.uint8]:
    try:
        pages = list(read_pages(path))
        if len(pages) > 1:
            raise AuditError(
                f"this file has {len(pages)} pages",
                where=path.absolute(),
                remedy="give one of them as an array, or run naslora predict, which reads all"
                " pages",
            )
        pixels = pages[0].pixels
        deep = pixels.dtype not in (np.uint8, np.bool_)
        if deep:
            check_finite(pixels)
        return choose_rescaling("auto", pages if deep else [])(pixels)
    except UnreadableImageError as error:
        raise AuditError(
            f"this image {error}", where=path.absolute(), remedy="give another file"
        ) from None
