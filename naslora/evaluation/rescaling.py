"""Pixels of more than 8 bits as 8-bit RGB, which SAM takes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from skimage.exposure import rescale_intensity

from naslora.core.errors import SettingsError
from naslora.data.images import UnreadableImageError
from naslora.evaluation.image_files import Page

_PERCENTILES = (0.1, 99.9)
_SAMPLE = 1_000_000  # pixels from which an image's percentiles are computed


@dataclass(frozen=True)
class Rescaling:
    """The values that become black and white.

    Attributes:
        mode: "range", one range for all images of a pixel type; "image", the percentiles 0.1 and
            99.9 of each image; "type", the whole range of an integer type, or 0 to 1.
        ranges: for mode "range", lowest and highest value by pixel type; "" stands for all others.
    """

    mode: Literal["range", "image", "type"]
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __call__(self, pixels: NDArray[Any]) -> NDArray[np.uint8]:
        """Convert (H, W) or (H, W, 3) of any type to uint8 (H, W, 3).

        Raises:
            UnreadableImageError: a value is not finite.
        """
        if pixels.dtype == np.bool_:
            pixels = pixels.astype(np.uint8) * np.uint8(255)
        if pixels.dtype != np.uint8:
            check_finite(pixels)
            low, high = self._range(pixels)
            if high <= low:
                high = low + 1
            # float32, or float64 for types whose values float32 cannot hold.
            as_float = pixels.astype(np.result_type(pixels.dtype, np.float32))
            pixels = np.rint(rescale_intensity(as_float, (low, high), (0.0, 255.0)))
            pixels = pixels.astype(np.uint8)
        if pixels.ndim == 2:
            pixels = np.repeat(pixels[..., None], 3, axis=2)
        return np.ascontiguousarray(pixels)

    def _range(self, pixels: NDArray[Any]) -> tuple[float, float]:
        name = pixels.dtype.name
        if self.mode == "range" and (found := self.ranges.get(name, self.ranges.get(""))):
            return found
        if self.mode == "image":
            return percentiles(pixels)
        if pixels.dtype.kind in "iu":
            limits = np.iinfo(pixels.dtype)
            return float(limits.min), float(limits.max)
        return 0.0, 1.0


def check_finite(pixels: NDArray[Any]) -> None:
    """Refuse pixels that are not finite real numbers.

    Raises:
        UnreadableImageError: a value is not finite, or the type is not one of real numbers.
    """
    if pixels.dtype.kind == "f" and (bad := int(np.count_nonzero(~np.isfinite(pixels)))):
        raise UnreadableImageError(
            f"holds {bad:,} values that are not finite; replace them by numbers"
        )
    if pixels.dtype.kind not in "biuf":
        raise UnreadableImageError(f"holds values of type {pixels.dtype}")


def percentiles(pixels: NDArray[Any]) -> tuple[float, float]:
    """The percentiles 0.1 and 99.9 of an image's values."""
    step = max(1, int((pixels.size / _SAMPLE) ** 0.5))
    low, high = np.percentile(pixels[::step, ::step], _PERCENTILES)
    return float(low), float(high)


def choose_rescaling(text: str, pages: Iterable[Page]) -> Rescaling:
    """Read the option --rescale.

    Args:
        text: "auto", one range for all images of a pixel type, from their lowest 0.1 percentile to
            their highest 99.9 percentile; "image" or "type", see `Rescaling`; or "LOW,HIGH".
        pages: all pages of more than 8 bits; read for "auto" only.

    Raises:
        SettingsError: the text is none of these.
    """
    if text in ("image", "type"):
        return Rescaling(text)  # type: ignore[arg-type]
    if text == "auto":
        ranges: dict[str, tuple[float, float]] = {}
        for page in pages:
            name = page.pixels.dtype.name
            low, high = percentiles(page.pixels)
            least, greatest = ranges.get(name, (low, high))
            ranges[name] = min(low, least), max(high, greatest)
        return Rescaling("range", ranges) if ranges else Rescaling("type")
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        low = high = 0.0
    if not -math.inf < low < high < math.inf:
        raise SettingsError(
            f"cannot rescale by {text!r}",
            remedy="give auto, image, type, or two numbers LOW,HIGH",
        )
    return Rescaling("range", {"": (low, high)})
