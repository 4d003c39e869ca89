"""Layout of the generated archives of both editions of Trans10K."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from naslora.synthetic.archive import Files
from naslora.synthetic.encoding import encoded, jpeg, png
from naslora.synthetic.fields import Labels
from naslora.synthetic.glass.scene import KINDS, draw_glass
from naslora.synthetic.streams import part_streams

# Values of the EXIF tag Orientation, and how pixels are rotated before they are stored, which the
# tag undoes.
_TURNS = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
_EVERY_TURNED = 6  # one image in six is stored rotated


@dataclass(frozen=True)
class Edition:
    """The layout of an edition's files.

    Attributes:
        folder: the folder that the archive begins with.
        mask_folder: name of the folders of masks.
        shares: relative number of generated images in each folder of pairs.
        encode_mask: makes a mask as the official archive stores it from labels of kinds.
    """

    folder: str
    mask_folder: str
    shares: Mapping[str, int]
    encode_mask: Callable[[Labels], Image.Image]


def files(edition: Edition, count: int, seed: int) -> Files:
    """`<place>/images/<n>.jpg` and `<place>/<mask_folder>/<n>_mask.png`; some images are turned."""
    drawn: Counter[str] = Counter()
    for place, rng in part_streams(seed, count, edition.shares):
        index = drawn[place]
        drawn[place] += 1
        # Every kind takes its turn in every folder, including those for testing.
        image, kinds = draw_glass(rng, KINDS[index % len(KINDS)], hard=place.endswith("hard"))
        where, name = f"{edition.folder}/{place}", str(index + 1)
        orientation = 1
        if index % _EVERY_TURNED == 2:
            orientation = (6, 8)[index // _EVERY_TURNED % 2]
        yield f"{where}/images/{name}.jpg", _photograph(image, orientation)
        mask_name = f"{where}/{edition.mask_folder}/{name}_mask.png"
        yield mask_name, png(edition.encode_mask(kinds))


def _photograph(pixels: NDArray[np.uint8], orientation: int) -> bytes:
    """A JPEG file as a camera writes it when held upright (1) or rotated (6, 8)."""
    image = Image.fromarray(pixels)
    if orientation == 1:
        return jpeg(image, 92)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return encoded(image.transpose(_TURNS[orientation]), "JPEG", quality=92, exif=exif)
