"""From fields to the pixels of a photograph: normals, blending, blur and noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy
from numpy.typing import NDArray

from naslora.synthetic.fields import AnyField, Field


def normals(height: Field) -> tuple[Field, Field, Field]:
    """Unit normals (x, y, z) of a height field, heights in pixels."""
    dy, dx = np.gradient(height)
    z = 1 / np.sqrt(1 + dx * dx + dy * dy)
    return -dx * z, -dy * z, z


def blend(image: AnyField, cover: AnyField, colour: Sequence[float] | AnyField) -> Field:
    """Lay a colour, or another image (H, W, 3), over an image where `cover` (H, W) is above 0."""
    share = np.clip(cover, 0, 1)[..., None]
    return np.asarray(image * (1 - share) + share * np.asarray(colour, np.float32), np.float32)


def photograph(
    rng: np.random.Generator, image: Field, blur: float, noise: float
) -> NDArray[np.uint8]:
    """Pixels of an image in [0, 1]: blurred by `blur` pixels, with noise of deviation `noise`."""
    blurred = scipy.ndimage.gaussian_filter(image, (blur, blur, 0))
    noisy = blurred + rng.normal(0, noise, image.shape)
    return np.asarray(np.clip(noisy, 0, 1) * 255, np.uint8)
