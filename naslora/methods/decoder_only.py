"""Decoder-only: the image encoder stays as it is."""

from __future__ import annotations

from naslora.core.validation import StrictSettings
from naslora.methods.registry import register
from naslora.sam.building import Sam


class DecoderOnlySettings(StrictSettings):
    """There is nothing to set."""


@register("decoder_only", title="Decoder-only", settings=DecoderOnlySettings, merges=("exact",))
def apply(sam: Sam, settings: DecoderOnlySettings) -> None:
    """Add nothing: the mask decoder, which every method tunes, is all."""
