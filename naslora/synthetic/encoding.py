"""Images as the bytes of image files."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image, features


def jpeg(image: Image.Image, quality: int) -> bytes:
    """An image as the bytes of a JPEG file."""
    return encoded(image, "JPEG", quality=quality)


def png(image: Image.Image) -> bytes:
    """An image as the bytes of a PNG file, with its palette."""
    return encoded(image, "PNG")


def tiff(image: Image.Image, compression: str) -> bytes:
    """An image as the bytes of a TIFF file; not compressed where Pillow comes without libtiff."""
    wanted = compression if features.check("libtiff") else "raw"
    return encoded(image, "TIFF", compression=wanted)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """An image as the bytes of a file.

    Args:
        image: the image.
        kind: Pillow's name of the format.
        options: of Pillow's writer of this format.
    """
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
