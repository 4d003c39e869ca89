"""BitFit (Ben Zaken et al., ACL 2022, arXiv 2106.10199): only the biases are trained."""

from __future__ import annotations

from naslora.core.validation import StrictSettings
from naslora.methods.registry import register
from naslora.sam.building import Sam


class BitFitSettings(StrictSettings):
    """BitFit has no settings."""


@register("bitfit", title="BitFit", settings=BitFitSettings, merges=("exact",))
def apply(sam: Sam, settings: BitFitSettings) -> None:
    """Unfreeze every bias of the image encoder: 452,352 on ViT-H.

    They are those of the patch embedding, of the blocks' norms and linear layers, and of the
    neck's norms. It adds no layer, so there is nothing to merge.
    """
    for name, parameter in sam.image_encoder.named_parameters():
        if name.endswith(".bias"):
            parameter.requires_grad_(True)
