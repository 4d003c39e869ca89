"""Images as the bytes of image files."""

from __future__ import annotations

import io

from PIL import Image, features


def jpeg(image: Image.Image, quality: int) -> bytes:
    """An image as the bytes of a JPEG file."""
    return _encoded(image, "JPEG", quality=quality)


def png(image: Image.Image) -> bytes:
    """An image as the bytes of a PNG file, with its palette."""
    return _encoded(image, "PNG")


def tiff(image: Image.Image, compression: str) -> bytes:
    """An image as the bytes of a TIFF file; not compressed where Pillow comes without libtiff."""
    wanted = compression if features.check("libtiff") else "raw"
    return _encoded(image, "TIFF", compression=wanted)


def _encoded(image: Image.Image, kind: str, **options: int | str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
