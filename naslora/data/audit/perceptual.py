"""Images that look alike: found by a perceptual hash, confirmed by their thumbnails.

The hash is made from the lowest frequencies of a 32 x 32 grey thumbnail: 255 coefficients of the
discrete cosine transform, each above or below their median (Zauner, 2010, with 16 x 16 coefficients
instead of 8 x 8). With those, 63 bits are too few: the black frame of an endoscopy image alone
determines most of them.

Two images are near-duplicates when their hashes differ in at most `MOST_BITS` bits and their
thumbnails correlate by at least `LEAST_CORRELATION`. Measured on reduced real archives: of the
19,900 pairs of CVC-ClinicDB's video frames this finds 62; 59 of them are of one sequence, 3 are
not. It finds none in 328,000 pairs of ISIC 2017, and none in the 1,500,000 pairs of images of
different sets. What it finds is a lower bound: of 715 pairs of frames of one sequence, 656 have
moved too far to be found, and turned or mirrored copies are not found either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray
from PIL import Image

BITS = 255
MOST_BITS = 48
LEAST_CORRELATION = 0.95
_SIDE = 32
_FREQUENCIES = 16
# Standard deviation of grey levels below which a thumbnail counts as one colour.
_FLAT = 1.0
_BLOCK = 256


@dataclass(frozen=True)
class ImageFeatures:
    """The features of an image that are compared.

    Attributes:
        thumbnail: float32 (1024,), of mean 0 and norm 1.
        bits: the hash, uint64 (4,).
        colours: mean and standard deviation of red, green and blue, float32 (6,).
    """

    thumbnail: NDArray[np.float32]
    bits: NDArray[np.uint64]
    colours: NDArray[np.float32]


@dataclass(frozen=True)
class NearDuplicate:
    """Two near-duplicates, by their indices; distance in bits, correlation at most 1."""

    first: int
    second: int
    distance: int
    correlation: float


def image_features(image: Image.Image) -> ImageFeatures | None:
    """The thumbnail and hash of an 8-bit image; None for an image of one colour."""
    small = image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0)
    grey = np.asarray(small, np.float32)
    if grey.std() < _FLAT:
        return None
    centred = (grey - grey.mean()).ravel()
    waves = scipy.fft.dctn(grey, norm="ortho")[:_FREQUENCIES, :_FREQUENCIES].ravel()[1:]
    bits = np.packbits(np.append(waves > np.median(waves), False)).view(np.uint64)
    rgb = image.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0)
    pixels = np.asarray(rgb, np.float32).reshape(-1, 3)
    colours = np.concatenate([pixels.mean(axis=0), pixels.std(axis=0)])
    return ImageFeatures(centred / np.linalg.norm(centred), bits, colours)


def near_duplicates(features: Sequence[ImageFeatures]) -> list[NearDuplicate]:
    """All near-duplicates among images, the most alike first.

    Every pair is compared: half a second for 10,000 images.
    """
    if not features:
        return []
    bits = np.stack([one.bits for one in features])
    thumbnails = np.stack([one.thumbnail for one in features])
    found = []
    for start in range(0, len(features), _BLOCK):
        block = bits[start : start + _BLOCK]
        distance = np.zeros((len(block), len(features) - start), np.uint16)
        for word in range(bits.shape[1]):
            distance += np.bitwise_count(block[:, None, word] ^ bits[None, start:, word])
        rows, columns = np.nonzero(np.triu(distance <= MOST_BITS, 1))
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            first, second = start + row, start + column
            correlation = float(thumbnails[first] @ thumbnails[second])
            if correlation >= LEAST_CORRELATION:
                found.append(NearDuplicate(first, second, int(distance[row, column]), correlation))
    return sorted(found, key=lambda pair: (pair.distance, -pair.correlation, pair.first))
