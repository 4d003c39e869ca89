"""A survey of user-supplied masks: their values, and their sizes compared with the images'."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import scipy
from numpy.typing import NDArray
from PIL import Image

from naslora.core.errors import AuditError
from naslora.core.processors import available_cores
from naslora.core.wording import first_of
from naslora.data.images import FORMATS, UnreadableImageError, decode, orientation
from naslora.data.own.pairs import NAMED, OwnPair

Kind = Literal["grey", "index", "colour"]
Values = NDArray[np.int64]
# Grey levels up to DARK are dark, and from BRIGHT on bright. A pixel in between is part of a soft
# edge if there are a dark and a bright pixel at most _NEAR pixels away.
DARK, BRIGHT = 32, 223
_NEAR = 2
_JPEG = b"\xff\xd8"
_MOST_VALUES = 4096


@dataclass(frozen=True)
class RawMask:
    """The values of a mask file before they are interpreted.

    Attributes:
        kind: "grey" for grey levels, "index" for indices of a palette, "colour" for 0xRRGGBB.
        values: int64 (H, W).
    """

    kind: Kind
    values: Values


@dataclass(frozen=True)
class Survey:
    """Properties of all masks together.

    Attributes:
        kind: "colour" if any mask has colours, else "index" if any has a palette.
        lossy: whether any mask is a JPEG file, whose values are not exact.
        pixels: number of pixels of each value.
        values_of: the values in each mask, in the order of the pairs.
        between: number of pixels between dark and bright, for grey masks.
        soft: number of those that are part of a soft edge.
        sizes: id, mask size and image size (W, H) of each mask that differs in size from its image.
    """

    kind: Kind
    lossy: bool
    pixels: Counter[int]
    values_of: list[frozenset[int]]
    between: int
    soft: int
    sizes: list[tuple[str, tuple[int, int], tuple[int, int]]]

    @property
    def total(self) -> int:
        """All pixels."""
        return sum(self.pixels.values())


def survey(pairs: Sequence[OwnPair]) -> Survey:
    """Read every mask, and the size of every image.

    Raises:
        AuditError: a file cannot be read, or a mask has pixels that are not levels, indices or
            colours; names the first few.
    """
    with ThreadPoolExecutor(min(8, available_cores())) as pool:
        found = list(pool.map(_inspect, pairs))
    if problems := [one for one in found if isinstance(one, str)]:
        raise AuditError(
            f"{len(problems)} of {len(pairs)} pairs cannot be used: {first_of(problems, NAMED)}",
            remedy="repair these files, or take the pairs out",
        )
    inspected = [one for one in found if not isinstance(one, str)]
    kinds = {one.kind for one in inspected}
    kind: Kind = next(k for k in ("colour", "index", "grey") if k in kinds)
    pixels: Counter[int] = Counter()
    values_of = []
    for one in inspected:
        counts = one.pixels
        if kind == "colour" and one.kind != "colour":
            counts = {value * 0x010101: number for value, number in counts.items()}
        pixels.update(counts)
        values_of.append(frozenset(counts))
    sizes = [
        (pair.id, one.mask_size, one.image_size)
        for pair, one in zip(pairs, inspected, strict=True)
        if one.mask_size != one.image_size
    ]
    between, soft = sum(one.between for one in inspected), sum(one.soft for one in inspected)
    lossy = any(one.lossy for one in inspected)
    return Survey(kind, lossy, pixels, values_of, between, soft, sizes)


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height of an image file as it is shown, without decoding its pixels.

    Raises:
        UnreadableImageError: it is not an image.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            return image.size[::-1] if orientation(image) >= 5 else image.size
    except Exception as error:  # Pillow's readers raise nearly every class on damaged files
        raise UnreadableImageError("is not an image that can be read") from error


def read_raw(data: bytes) -> RawMask:
    """The values of a mask file, upright.

    Raises:
        UnreadableImageError: it cannot be decoded, or has pixels that are not levels, indices or
            colours.
    """
    mask = decode(data)
    if mask.mode in ("LA", "RGBA", "PA"):
        alpha = mask.getchannel("A").getextrema()
        if alpha[0] != alpha[1]:
            raise UnreadableImageError("has transparent parts; flatten it")
        mask = mask.convert({"LA": "L", "RGBA": "RGB", "PA": "P"}[mask.mode])
    if mask.mode in ("1", "L", "P"):
        kind: Kind = "index" if mask.mode == "P" else "grey"
        return RawMask(kind, np.asarray(mask.convert("L") if mask.mode == "1" else mask, np.int64))
    if mask.mode in ("I", "I;16", "I;16L", "I;16B"):
        return RawMask("grey", np.asarray(mask, np.int64))
    if mask.mode == "RGB":
        red, green, blue = (np.asarray(channel, np.int64) for channel in mask.split())
        if np.array_equal(red, green) and np.array_equal(green, blue):
            return RawMask("grey", red)
        return RawMask("colour", (red << 16) | (green << 8) | blue)
    raise UnreadableImageError(f"has pixels stored as {mask.mode}, not levels, indices or colours")


@dataclass(frozen=True)
class _Inspected:
    """Properties of one pair; see `Survey`."""

    kind: Kind
    lossy: bool
    pixels: dict[int, int]
    between: int
    soft: int
    mask_size: tuple[int, int]
    image_size: tuple[int, int]


def _inspect(pair: OwnPair) -> _Inspected | str:
    """The properties of one pair, or what is wrong with it."""
    assert isinstance(pair.mask, Path)
    path = pair.image
    try:
        size = upright_size(path)
        path = pair.mask
        data = path.read_bytes()
        raw = read_raw(data)
    except UnreadableImageError as error:
        return f"{path} {error}"
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    values, counts = np.unique(raw.values, return_counts=True)
    if len(values) > _MOST_VALUES:
        return f"{path} holds {len(values)} different values, as a photograph does, not a mask"
    pixels = dict(zip(values.tolist(), counts.tolist(), strict=True))
    between, soft = _soft_edges(raw) if raw.kind == "grey" else (0, 0)
    height, width = raw.values.shape
    lossy = data.startswith(_JPEG)
    return _Inspected(raw.kind, lossy, pixels, between, soft, (width, height), size)


def _soft_edges(raw: RawMask) -> tuple[int, int]:
    """The numbers of pixels between dark and bright, and of those that are part of a soft edge."""
    between = (raw.values > DARK) & (raw.values < BRIGHT)
    if not between.any():
        return 0, 0
    side = 2 * _NEAR + 1
    near_dark = scipy.ndimage.binary_dilation(raw.values <= DARK, np.ones((side, side)))
    near_bright = scipy.ndimage.binary_dilation(raw.values >= BRIGHT, np.ones((side, side)))
    return int(between.sum()), int((between & near_dark & near_bright).sum())
