"""User-supplied images as a benchmark: finding pairs, interpreting masks, splitting."""

from naslora.data.own.describe import own_data
from naslora.data.own.options import OwnOptions

__all__ = ["OwnOptions", "own_data"]
