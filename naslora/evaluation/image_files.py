"""Image files to predict: found in folders, and read with all their pages and pixel types."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageOps

from naslora.core.errors import SettingsError
from naslora.data.images import UnreadableImageError

# File suffixes, and the formats that Pillow may open. Others are refused, since some of them start
# another program, as PostScript does.
FORMATS = {
    ".bmp": "BMP",
    ".gif": "GIF",
    ".jp2": "JPEG2000",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
_FIRST_ONLY = ("MPO",)  # JPEG followed by a second picture, as cameras write it
_TIFF = ("TIFF",)
_PLAIN = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB)  # need no conversion
MAX_PIXELS = 1_000_000_000
# GeoTIFF tags that locate the image on the ground. Its mask keeps them.
_GEO_TAGS = (33550, 33922, 34264, 34735, 34736, 34737, 42113)


@dataclass(frozen=True)
class ImageFile:
    """A file to predict.

    Attributes:
        path: the file.
        relative: where its mask goes below the output folder, without a suffix.
    """

    path: Path
    relative: Path


@dataclass(frozen=True)
class Page:
    """A page of an image file.

    Attributes:
        number: of the page, from 1; None if it is the file's only one.
        pixels: (H, W) grey or (H, W, 3) RGB, of any integer or floating-point type.
        geo: the tags of a GeoTIFF, as `tifffile` writes them.
    """

    number: int | None
    pixels: NDArray[Any]
    geo: list[tuple[Any, ...]] = field(default_factory=list)


def find_images(paths: Iterable[Path]) -> list[ImageFile]:
    """List the image files among paths, and in and below the folders among them.

    Masks of a folder's images keep its directory tree. Masks of files given by name go into one
    folder or, if two files share a name, keep the tree below the files' common folder. A file that
    is given twice, such as by a relative and by an absolute path, is listed once.

    Raises:
        SettingsError: a path does not exist, a folder holds no image, or no path is given.
    """
    named: dict[Path, Path] = {}
    found: dict[Path, ImageFile] = {}
    for path in paths:
        if path.is_dir():
            inside = [p for p in sorted(path.rglob("*")) if _is_image(p, path)]
            if not inside:
                raise SettingsError(
                    "there is no image in this folder",
                    where=path.absolute(),
                    remedy=f"name a folder with files {', '.join(FORMATS)}, or the files",
                )
            found |= {_place(p): _image_file(p, p.relative_to(path)) for p in inside}
        elif path.is_file():
            named.setdefault(_place(path), path)
        else:
            raise SettingsError("there is no such image or folder", where=path.absolute())
    stems = {path.stem for path in named.values()}
    common = _common_folder([*named.values()]) if len(stems) < len(named) else None
    for place, path in named.items():
        relative = Path(path.name) if common is None else path.absolute().relative_to(common)
        found[place] = _image_file(path, relative)
    if not found:
        raise SettingsError("there is no image to predict", remedy="name files or folders")
    return [*found.values()]


def read_pages(path: Path) -> Iterator[Page]:
    """Read a file page by page, each upright.

    Raises:
        UnreadableImageError: it is damaged, of an unknown format, too large, or its pixels are
            neither grey nor RGB.
    """
    try:
        if path.stat().st_size == 0:
            raise UnreadableImageError("is empty (0 bytes)")
        if path.suffix.lower() in (".tif", ".tiff"):
            yield from _tiff_pages(path)
        else:
            yield from _pillow_pages(path)
    except UnreadableImageError:
        raise
    except OSError as error:
        what = error.strerror or str(error).replace(str(path), path.name)
        raise UnreadableImageError(f"cannot be read: {what}") from error
    except Exception as error:  # decoders raise almost any exception on damaged files
        raise UnreadableImageError(f"cannot be decoded: {error}") from error


def _is_image(path: Path, folder: Path) -> bool:
    inside = path.relative_to(folder).parts
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in inside)
    return path.suffix.lower() in FORMATS and not hidden and path.is_file()


def _image_file(path: Path, relative: Path) -> ImageFile:
    return ImageFile(path, relative.with_name(relative.name.removesuffix(relative.suffix)))


def _place(path: Path) -> Path:
    """The same path for all spellings of it; links to a file are files of their own."""
    return path.parent.resolve() / path.name


def _common_folder(paths: list[Path]) -> Path:
    parents = [path.absolute().parent for path in paths]
    common = parents[0]
    while not all(parent.is_relative_to(common) for parent in parents):
        common = common.parent
    return common


def _pillow_pages(path: Path) -> Iterator[Page]:
    wanted = FORMATS.get(path.suffix.lower())
    # A file's format may differ from its suffix, but has to be in the list.
    formats = list(dict.fromkeys([*([wanted] if wanted else []), *FORMATS.values()]))
    with _opened(path, formats) as image:
        tiff = image.format == "TIFF" and path.suffix.lower() not in (".tif", ".tiff")
        single = image.format in _FIRST_ONLY or getattr(image, "n_frames", 1) == 1
        count = 1 if single else int(getattr(image, "n_frames", 1))
        if not tiff:
            for index in range(count):
                yield Page(None if single else index + 1, _frame(image, index))
    if tiff:
        yield from _tiff_pages(path)


@contextmanager
def _opened(path: Path, formats: list[str] | tuple[str, ...]) -> Iterator[Image.Image]:
    """Open a file with Pillow, up to `MAX_PIXELS`.

    Pillow's own limit, which is global, is changed only for the call of `open`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, MAX_PIXELS
        try:
            image = Image.open(path, formats=formats)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    with image:
        yield image


def _frame(image: Image.Image, index: int) -> NDArray[Any]:
    """A frame, upright: grey of more than 8 bits unchanged, everything else as 8-bit RGB."""
    if index:
        image.seek(index)
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableImageError(f"has more than {MAX_PIXELS:,} pixels")
    image.load()
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("I", "F") or upright.mode.startswith("I;"):
        return np.array(upright)
    return np.array(upright.convert("RGB"))


def _tiff_pages(path: Path) -> Iterator[Page]:
    """The pages of a TIFF without its overviews, which are copies at a lower resolution."""
    with tifffile.TiffFile(path) as file:
        every: list[Any] = list(file.pages)
        pages = [(index, page) for index, page in enumerate(every) if not page.is_reduced]
        for number, (index, page) in enumerate(pages, 1):
            if page.imagewidth * page.imagelength * page.imagedepth > MAX_PIXELS:
                raise UnreadableImageError(f"has more than {MAX_PIXELS:,} pixels")
            try:
                pixels = _tifffile_pixels(page)
            except ValueError:  # a compression or colour space that tifffile does not decode itself
                with _opened(path, _TIFF) as image:
                    pixels = _frame(image, index)
            yield Page(number if len(pages) > 1 else None, _grey_or_rgb(pixels), _geo(page))


def _tifffile_pixels(page: Any) -> NDArray[Any]:
    """The pixels of a page, channels last and upright.

    Raises:
        ValueError: tifffile does not decode its compression or colour space itself.
    """
    pixels = _channels_last(page.asarray(), page.axes)
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        pixels = np.invert(pixels) if pixels.dtype.kind in "biu" else -pixels
    elif page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
        pixels = np.moveaxis(page.colormap[:, pixels] >> 8, 0, -1).astype(np.uint8)
    elif page.photometric not in _PLAIN:
        raise ValueError("tifffile does not convert this colour space")
    orientation = page.tags.get("Orientation")
    return _upright(pixels, int(orientation.value) if orientation is not None else 1)


def _upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn pixels (H, W) or (H, W, C) upright, given their Exif or TIFF orientation."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _channels_last(pixels: NDArray[Any], axes: str) -> NDArray[Any]:
    return np.moveaxis(pixels, axes.index("S"), -1) if "S" in axes else pixels


def _grey_or_rgb(pixels: NDArray[Any]) -> NDArray[Any]:
    """Drop the alpha channel.

    Raises:
        UnreadableImageError: the picture is neither grey nor RGB.
    """
    if pixels.ndim == 2:
        return pixels
    if pixels.ndim != 3 or pixels.shape[-1] > 4:
        shape = " x ".join(map(str, pixels.shape))
        raise UnreadableImageError(f"holds {shape} values, neither grey nor RGB")
    channels = pixels.shape[-1]
    return pixels[..., 0] if channels < 3 else pixels[..., :3]


def _geo(page: Any) -> list[tuple[Any, ...]]:
    found = (page.tags.get(code) for code in _GEO_TAGS)
    return [(tag.code, tag.dtype, tag.count, tag.value, True) for tag in found if tag is not None]
