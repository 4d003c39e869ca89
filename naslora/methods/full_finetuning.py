"""Full fine-tuning: all parameters of the pre-trained SAM are trained, at the highest cost."""

from __future__ import annotations

from naslora.core.validation import StrictSettings
from naslora.methods.registry import register
from naslora.sam.building import Sam


class FullFinetuningSettings(StrictSettings):
    """Full fine-tuning has no settings."""


@register(
    "full_finetuning",
    title="Full fine-tuning",
    settings=FullFinetuningSettings,
    merges=("exact",),
)
def apply(sam: Sam, settings: FullFinetuningSettings) -> None:
    """Unfreeze all parameters that a prediction depends on, as `scratch` does, and keep their
    values.

    Not in the paper. It takes as much memory as `scratch`: weights, gradients and two moments each.
    """
    sam.image_encoder.requires_grad_(True)
    sam.prompt_encoder.no_mask_embed.requires_grad_(True)
