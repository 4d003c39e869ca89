"""Reading image files, upright and in 8 bits, with errors that name the file."""

from __future__ import annotations

import io
import warnings
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from naslora.core.errors import AuditError, ManifestError

# For 16-bit grey, CMYK and the like, tools differ in the conversion to 8-bit RGB.
_IMAGE_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
# Formats that are opened. Pillow knows more, some of which run external programs (EPS).
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000", "PPM")
# Suffixes of image files, in lower case.
SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".jp2", ".ppm", ".pgm")
)
# Pillow's name for a JPEG file with more pictures after the first, such as a camera's thumbnail.
_MULTI_PICTURE = "MPO"


class UnreadableImageError(ValueError):
    """The bytes are not a usable image; the message says why."""


def decode(data: bytes) -> Image.Image:
    """Decode all pixels of an image file and apply the orientation in its EXIF tag.

    Raises:
        UnreadableImageError: empty, truncated, damaged, too large, or of several frames.
    """
    if not data:
        raise UnreadableImageError("is empty (0 bytes)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            frames = 1 if image.format == _MULTI_PICTURE else getattr(image, "n_frames", 1)
            image.load()
            upright = ImageOps.exif_transpose(image)
    except UnidentifiedImageError:
        raise UnreadableImageError(
            f"is not in a supported image format ({', '.join(FORMATS)})"
        ) from None
    except Exception as error:  # Pillow's decoders raise nearly every class on damaged files
        raise UnreadableImageError(f"cannot be decoded: {error}") from error
    if frames != 1:
        raise UnreadableImageError(f"holds {frames} frames, not one picture")
    return upright


def is_rotated(data: bytes) -> bool:
    """Whether the EXIF tag of a readable image file rotates or mirrors it."""
    return orientation(Image.open(io.BytesIO(data), formats=FORMATS)) != 1


def orientation(image: Image.Image) -> int:
    """The EXIF tag of an opened image file: 1 is upright, 5 to 8 swap width and height."""
    return int(image.getexif().get(ExifTags.Base.Orientation, 1))


def foreign_format(data: bytes, name: str) -> str | None:
    """The format of a readable image file, if it is not the one that its suffix names."""
    found = Image.open(io.BytesIO(data), formats=FORMATS).format
    named = Image.registered_extensions().get(PurePosixPath(name).suffix.lower())
    return None if found in (named, _MULTI_PICTURE) else found


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert to 8-bit RGB; transparency is dropped.

    Raises:
        UnreadableImageError: 16-bit, floating-point, CMYK and other modes.
    """
    if image.mode not in _IMAGE_MODES:
        raise UnreadableImageError(f"pixels are stored as {image.mode}, not 8-bit grey or RGB")
    return image.convert("RGB")


def read_bytes(path: Path) -> bytes:
    """Read a file that a manifest names.

    Raises:
        ManifestError: it is not there, or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ManifestError(
            f"cannot read a file that the manifest names: {error.strerror}",
            where=path,
            remedy="prepare the task again",
        ) from error


def read_image(path: Path) -> Image.Image:
    """Read an upright 8-bit RGB image.

    Raises:
        ManifestError: the file is not there.
        AuditError: it is damaged, or its mode is one that `to_rgb` refuses.
    """
    data = read_bytes(path)
    try:
        return to_rgb(decode(data))
    except UnreadableImageError as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: UnreadableImageError) -> AuditError:
    """The error for a prepared file that no longer decodes."""
    return AuditError(f"the file {error}", where=path, remedy="prepare the task again")


def resized(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Resize an image to a square: uint8 (size, size, 3), bilinear with antialiasing."""
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR), np.uint8)


def resized_labels(labels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize labels to a square: uint8 (size, size), nearest neighbour."""
    mask = Image.fromarray(labels).resize((size, size), Image.Resampling.NEAREST)
    return np.asarray(mask, np.uint8)
