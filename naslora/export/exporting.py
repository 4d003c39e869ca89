"""Export a trained run in the format of another program."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from naslora.core.errors import SettingsError
from naslora.data.images import read_image
from naslora.evaluation.image_files import find_images
from naslora.evaluation.runs import load_run
from naslora.export.merged import merged_copy
from naslora.export.meta import write_meta
from naslora.export.onnx import write_onnx
from naslora.export.peft import write_peft
from naslora.export.sharing import write_shared
from naslora.nas.dense import Estimator
from naslora.sam.building import Sam

Format = Literal["meta", "peft", "onnx", "adapter"]
FORMATS: tuple[Format, ...] = get_args(Format)
_MAX_IMAGES = 32


def export(
    run: Path | Sam,
    to: Format,
    out: Path,
    *,
    checkpoint: Path | None = None,
    estimator: Estimator | None = None,
    images: Iterable[Path] = (),
    log: Callable[[str], None] = lambda text: None,
) -> Path:
    """Export a trained run in the format of another program.

    - "meta": a checkpoint that Meta's `sam_model_registry` loads, for methods that merge into the
      weights and SAMs with the original decoder;
    - "peft": a folder that HF PEFT's `PeftModel.from_pretrained` loads into the plain SAM, for
      LoRA, DoRA and VeRA;
    - "onnx": a model from images to scores, checked with onnxruntime, for every method. Methods
      that merge are merged; NAS cells are collapsed, which changes no output;
    - "adapter": a folder with the run's adapter, its receipt and a model card, to share.

    Args:
        run: the folder of a run, its adapter file, or an adapted SAM, which is not changed.
        to: the format, as listed above.
        out: the file, or for "peft" and "adapter" the folder, to write; it must not exist.
        checkpoint: the SAM that the run was trained on; by default it is searched for. Not used if
            `run` is a SAM.
        estimator: how NAS cells are merged into plain layers, approximately; see
            `naslora.nas.dense`.
        images: image files or folders to measure the loss of such a merge on, at most 32; an ONNX
            model is also checked on them.
        log: called with each line about what is exported, and with the measured loss.

    Returns:
        The path of the output.

    Raises:
        SettingsError: the format cannot represent the method or its settings, an option is invalid,
            or `out` exists.
        StateError: the run is missing or damaged, or onnxruntime's outputs differ from torch's.
        CheckpointError: the SAM that the run was trained on is missing.
        DiskError: the output cannot be written.
    """
    if to not in FORMATS:
        raise SettingsError(f"no format {to!r}", remedy=f"choose one of {', '.join(FORMATS)}")
    if out.exists():
        raise SettingsError(
            "this already exists", where=out, remedy="delete it, or give another name"
        )
    if estimator is not None and to in ("peft", "adapter"):
        raise SettingsError("an adapter is not merged", remedy="give no estimator")
    if to == "adapter":
        if isinstance(run, Sam):
            raise SettingsError("a card is made of the folder of a run", remedy="give that folder")
        return write_shared(run, out, log)
    sam = run if isinstance(run, Sam) else load_run(run, checkpoint).sam
    if to == "peft":
        return write_peft(sam, out, log)
    paths = list(images)
    files = find_images(paths)[:_MAX_IMAGES] if paths else []
    batches = [_tensor(file.path, sam.image_size) for file in files]
    merged = merged_copy(sam, estimator, batches, log, collapse=to == "onnx")
    if to == "meta":
        return write_meta(merged, out, log)
    return write_onnx(merged, out, batches[:1], log)


def _tensor(path: Path, size: tuple[int, int]) -> Tensor:
    """An image file as a batch uint8 (1, 3, H, W) of this size."""
    from PIL import Image

    image = read_image(path).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
