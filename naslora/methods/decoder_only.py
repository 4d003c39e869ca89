"""Decoder-only: the image encoder stays frozen and unchanged."""

from __future__ import annotations

from naslora.core.validation import StrictSettings
from naslora.methods.registry import register
from naslora.sam.building import Sam


class DecoderOnlySettings(StrictSettings):
    """Decoder-only has no settings."""


@register("decoder_only", title="Decoder-only", settings=DecoderOnlySettings, merges=("exact",))
def apply(sam: Sam, settings: DecoderOnlySettings) -> None:
    """Add nothing: only the mask decoder is trained, which all methods train."""
