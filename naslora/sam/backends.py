"""The names of the ways to compute attention; this module imports no torch, as settings need it."""

from __future__ import annotations

from typing import Literal

# See `naslora.sam.attention`.
AttentionBackend = Literal["folded", "banded", "flex", "chunked", "reference"]
