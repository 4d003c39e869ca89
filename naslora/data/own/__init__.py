"""Images of one's own as a data set: found, understood, split, and made a benchmark of."""

from naslora.data.own.describe import own_data
from naslora.data.own.options import OwnOptions

__all__ = ["OwnOptions", "own_data"]
