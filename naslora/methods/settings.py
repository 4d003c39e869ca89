"""Types of settings that several methods share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, PlainValidator

from naslora.core.validation import DistinctTuple

Projection = Literal["q", "k", "v"]
PROJECTIONS: tuple[Projection, ...] = get_args(Projection)
Projections = DistinctTuple[Projection]
Half = Literal["first_half", "last_half"]
# A number of rows, channels or tokens. The limit keeps a damaged file from asking for more memory
# than any machine has.
Width = Annotated[int, Field(ge=1, le=65536)]


def _check_layers(layers: Any) -> tuple[int, ...] | Half | None:
    if layers is None or layers in get_args(Half):
        chosen: Half | None = layers
        return chosen
    several = isinstance(layers, Sequence) and not isinstance(layers, str) and len(layers) > 0
    if not several or not all(type(i) is int and i >= 0 for i in layers):
        halves = " or ".join(get_args(Half))
        raise ValueError(f"must list blocks, counted from 0, or be {halves}")
    if len(set(layers)) < len(layers):
        raise ValueError("must list each block once")
    return tuple(layers)


# Blocks of an image encoder, counted from 0; or a half of them, whatever the encoder's depth; or
# None for all.
Layers = Annotated[tuple[int, ...] | Half | None, PlainValidator(_check_layers)]
