"""The names of the attention backends. Settings use this module, so it imports no torch."""

from __future__ import annotations

from typing import Literal

# See `naslora.sam.attention`.
AttentionBackend = Literal["folded", "banded", "flex", "chunked", "reference"]
