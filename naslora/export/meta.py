"""Meta's checkpoint format, which `segment_anything.sam_model_registry` loads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from naslora.core.errors import SettingsError
from naslora.sam.building import Sam, build_sam
from naslora.sam.checkpoints import save_checkpoint
from naslora.sam.conversion import convert

_SIZE = (1024, 1024)  # of the models that Meta's registry builds


def write_meta(sam: Sam, out: Path, log: Callable[[str], None]) -> Path:
    """Write a plain SAM as a checkpoint in Meta's format.

    Args:
        sam: plain, with the original decoder. Position embeddings are interpolated to 1024 pixels,
            the size of the models that Meta's registry builds.
        out: the file to write.
        log: called with what was changed.

    Raises:
        SettingsError: the SAM has the semantic decoder, which has no place in Meta's model.
        DiskError: the file cannot be written.
    """
    from segment_anything import sam_model_registry

    if sam.decoder != "original":
        raise SettingsError(
            "this SAM has the semantic decoder, whose mask tokens and class branch have no place in"
            " Meta's model: its other tokens would change the masks",
            remedy="train with sam.decoder: original to get a checkpoint of Meta's, or export to"
            " onnx or peft",
        )
    if sam.backbone not in sam_model_registry:
        log(
            f"Meta's registry has no {sam.backbone}; the file has Meta's parameter names, for a"
            " model of these sizes that you build yourself"
        )
        save_checkpoint(sam, out)
        return out
    if sam.image_size != _SIZE:
        log(
            f"position embeddings are interpolated from {sam.image_size[0]} x {sam.image_size[1]}"
            " pixels to 1024 x 1024, the size of Meta's models; masks differ from those at the"
            " training size"
        )
        with torch.device("meta"):
            resized = build_sam(sam.backbone, _SIZE, decoder="original")
        state = convert(sam.state_dict(), resized)
        resized.load_state_dict(state, strict=True, assign=True)
        sam = resized
    with torch.device("meta"):
        reference = sam_model_registry[sam.backbone]().state_dict()
    state = sam.state_dict()
    different = [
        name
        for name in sorted({*reference, *state})
        if name not in state or name not in reference or state[name].shape != reference[name].shape
    ]
    if different:  # a bug, or another release of Meta's package
        raise AssertionError(f"{different[0]} is not as in Meta's {sam.backbone}")
    save_checkpoint(sam, out)
    return out
