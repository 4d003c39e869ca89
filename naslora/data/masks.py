"""Encodings of class labels in mask files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Labels = NDArray[np.uint8]
# The label of void pixels, as in Pascal VOC: they count neither in a loss nor in a metric.
IGNORE = 255


@dataclass(frozen=True)
class DecodedMask:
    """Labels of one mask file, and how exactly the file encodes them.

    Attributes:
        labels: uint8 (H, W), indices of classes, 0 or 1 for a binary task; `IGNORE` for void.
        grey: share of pixels that are not exactly one of the encoding's values.
        problem: why these values cannot be trusted, or None.
    """

    labels: Labels
    grey: float
    problem: str | None = None


class MaskEncoding(Protocol):
    """Turns the pixels of a mask file into labels, and labels into a mask."""

    def decode(self, mask: Image.Image) -> DecodedMask:
        """Decode an upright mask of any PIL mode; bad values are reported, not raised."""
        ...

    def encode(self, labels: Labels) -> Image.Image:
        """The mask that decodes to these labels."""
        ...


@dataclass(frozen=True)
class GreyMask:
    """Black background, white foreground, in one channel or in three equal ones.

    JPEG compression and smooth resizing produce grey values besides 0 and 255. Pixels at least
    `margin` away from both, or with a colour, are doubtful. All pixels are thresholded, but a mask
    in which more than the share `doubtful` of them is doubtful is unusable.
    """

    threshold: int = 128
    margin: int = 32
    doubtful: float = 0.005

    def decode(self, mask: Image.Image) -> DecodedMask:
        if mask.mode not in ("1", "L", "RGB", "P"):
            empty = np.zeros((mask.height, mask.width), np.uint8)
            return DecodedMask(empty, 0.0, f"pixels are stored as {mask.mode}, not 8-bit grey")
        # Channel by channel: reducing over the last axis of (H, W, 3) takes ten times as long.
        colours = mask.convert("RGB").split() if mask.mode in ("RGB", "P") else [mask.convert("L")]
        channels = [np.asarray(channel, np.uint8) for channel in colours]
        grey = channels[len(channels) // 2]
        extremes = (grey == 0) | (grey == 255)
        labels = (grey >= self.threshold).astype(np.uint8)
        doubtful = (grey >= self.margin) & (grey <= 255 - self.margin)
        spread = np.maximum.reduce(channels) - np.minimum.reduce(channels)
        coloured = spread >= self.margin
        share = float((doubtful | coloured).mean())
        problem = None
        if share > self.doubtful:
            problem = f"{share:.1%} of the pixels are neither black nor white"
        elif not labels.any() and grey.any():
            problem = f"no pixel is white; the largest value is {grey.max()}"
        return DecodedMask(labels, float(1 - extremes.mean()), problem)

    def encode(self, labels: Labels) -> Image.Image:
        return Image.fromarray((labels > 0) * np.uint8(255))


@dataclass(frozen=True)
class PaletteMask:
    """Indices of classes as pixel values; the colours of a palette are ignored.

    Attributes:
        classes: number of classes, background included.
        void: whether 255 is void; otherwise it is an unknown index.
    """

    classes: int
    void: bool = False

    def decode(self, mask: Image.Image) -> DecodedMask:
        if mask.mode not in ("1", "L", "P"):
            empty = np.zeros((mask.height, mask.width), np.uint8)
            return DecodedMask(empty, 0.0, f"pixels are stored as {mask.mode}, not as indices")
        labels = np.asarray(mask, np.uint8)
        unknown = labels >= self.classes
        if self.void:
            unknown &= labels != IGNORE
        problem = None
        if unknown.any():
            values = ", ".join(map(str, np.unique(labels[unknown])[:5]))
            problem = f"indices {values}, where only 0 to {self.classes - 1} are known"
        return DecodedMask(labels, float(unknown.mean()), problem)

    def encode(self, labels: Labels) -> Image.Image:
        return Image.fromarray(labels)
