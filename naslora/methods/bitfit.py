"""BitFit (Ben Zaken et al., ACL 2022, arXiv 2106.10199): the biases, and nothing else."""

from __future__ import annotations

from naslora.core.validation import StrictSettings
from naslora.methods.registry import register
from naslora.sam.building import Sam


class BitFitSettings(StrictSettings):
    """There is nothing to set."""


@register("bitfit", title="BitFit", settings=BitFitSettings, merges=("exact",))
def apply(sam: Sam, settings: BitFitSettings) -> None:
    """Free every bias of the image encoder: 452,352 on ViT-H.

    They are those of the patch embedding, of the blocks' norms and linear layers, and of the
    neck's norms. It adds no layer, so there is nothing to merge.
    """
    for name, parameter in sam.image_encoder.named_parameters():
        if name.endswith(".bias"):
            parameter.requires_grad_(True)
