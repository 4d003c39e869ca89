"""SAM (scratch): no pre-training and no adapter; everything is trained from random weights."""

from __future__ import annotations

import torch

from naslora.core.validation import StrictSettings
from naslora.methods.registry import register
from naslora.sam.building import Sam


class ScratchSettings(StrictSettings):
    """Training from scratch has no settings."""


@register(
    "scratch",
    title="SAM (scratch)",
    settings=ScratchSettings,
    identity=False,
    merges=("exact",),
    pretrained=False,
)
def apply(sam: Sam, settings: ScratchSettings) -> None:
    """Unfreeze all parameters that a prediction depends on.

    The paper counts all 641,090,608 parameters of Meta's SAM with ViT-H. A semantic SAM for a
    binary task has 640,669,645, as it has one mask token instead of four. 640,531,840 of them are
    trained: neither the IoU head nor the prompt encoder's points and masks have a gradient.

    The random matrix of the position encoding, a buffer that is never trained, is drawn again from
    the seed of `adapt`: other methods load it from the checkpoint, and this one has none.
    """
    sam.image_encoder.requires_grad_(True)
    sam.mask_decoder.requires_grad_(True)
    sam.prompt_encoder.no_mask_embed.requires_grad_(True)
    features = sam.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
    features.copy_(torch.randn(features.shape, device="cpu"))
