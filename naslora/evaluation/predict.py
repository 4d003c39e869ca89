"""Prediction of arbitrary images with an adapted SAM."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from naslora.core.background import prefetch
from naslora.core.errors import AuditError, SettingsError
from naslora.data.images import UnreadableImageError
from naslora.evaluation.binary import THRESHOLD
from naslora.evaluation.image_files import ImageFile, Page, find_images, read_pages
from naslora.evaluation.mask_files import (
    COCO_NAME,
    CocoFile,
    Product,
    product_path,
    write_grey,
    write_mask,
    write_overlay,
)
from naslora.evaluation.predictions import Predicted
from naslora.evaluation.rescaling import Rescaling, check_finite, choose_rescaling
from naslora.evaluation.tiles import predict_tiled, tile_size
from naslora.sam.building import Sam


@dataclass(frozen=True)
class PredictOptions:
    """Options of prediction and output.

    Attributes:
        products: what to write, any of "mask", "probability" (binary tasks), "overlay" and "coco".
        tile: the side of tiles in pixels; 0 for none; None for the rule of `tile_size`.
        training_side: the longer side in pixels of the images that the model was trained on.
        rescale: how pixels of more than 8 bits are rescaled; see `choose_rescaling`.
        overwrite: whether to replace files that already exist.
    """

    products: Sequence[Product] = ("mask",)
    tile: int | None = None
    training_side: int | None = None
    rescale: str = "auto"
    overwrite: bool = False


def predict_files(
    sam: Sam,
    images: Iterable[Path],
    folder: Path,
    options: PredictOptions | None = None,
    log: Callable[[str], None] = lambda text: None,
) -> list[Path]:
    """Predict image files, each at its own size, and write masks below `folder`.

    Masks hold 0 and 255 for a binary task (foreground: probability above 0.5); for a multi-class
    task, they hold class numbers, with 0 for background, and a palette. Each page of a file with
    several gets its own mask, `<name>_page<n>.png`. The mask of a GeoTIFF is a GeoTIFF. Images are
    read one at a time, so memory does not grow with their number.

    Args:
        sam: an adapted SAM in evaluation mode, on any device; see `naslora.methods.state`.
        images: image files, or folders, which are searched with all folders below.
        folder: the folder for masks; masks of a folder's images keep its directory tree.
        options: how to predict, and what to write.
        log: called with a line for each finished image.

    Returns:
        The files written, in the order of the images.

    Raises:
        SettingsError: a file or folder is missing, or holds no image; two images would have the
            same mask file; an output file already exists or would replace an image; an option is
            invalid. Nothing has been written then, except if the output is that of a page or of a
            GeoTIFF, whose name is known only when it is read. Or the GPU's memory is too small.
        AuditError: some images could not be read; the message lists them. All others are done.
        DivergedError: a prediction is not finite.
        DiskError: a mask cannot be written.
    """
    options = options or PredictOptions()
    if "probability" in options.products and sam.classes > 1:
        raise SettingsError(
            f"this adapter has {sam.classes} classes, so there is no single foreground probability",
            remedy="ask for masks, which hold class numbers",
        )
    check_tile(options.tile)
    files = find_images(images)
    _check_outputs(files, folder, options)
    rescaling = _choose_rescaling(files, options.rescale, log)
    sources = _sources(files)
    coco = CocoFile(sam.classes) if "coco" in options.products else None
    written: list[Path] = []
    problems: dict[Path, list[str]] = {}
    done = 0
    for file, page in prefetch(_pages(files)):
        if isinstance(page, UnreadableImageError):
            problems.setdefault(file.path, []).append(f"{file.path} {page}")
            continue
        try:
            pixels = rescaling(page.pixels)
        except UnreadableImageError as error:
            where = "" if page.number is None else f", page {page.number}"
            problems.setdefault(file.path, []).append(f"{file.path}{where} {error}")
            continue
        relative = file.relative
        if page.number is not None:
            relative = relative.with_name(f"{relative.name}_page{page.number}")
        mask, probability = _predict(sam, pixels, options)
        written += _write(folder, relative, page, pixels, mask, probability, sam, options, sources)
        if coco is not None:
            coco.add(_coco_name(file, page), mask)
        done += 1
        share = np.count_nonzero(mask) / mask.size
        log(f"{file.path}: {_size(pixels)} pixels, {share:.1%} foreground")
    if coco is not None and done:
        coco.write(folder / COCO_NAME)
        written.append(folder / COCO_NAME)
    if problems:
        lines = "\n    ".join(line for of_file in problems.values() for line in of_file)
        raise AuditError(
            f"{len(problems)} of {len(files)} images have no mask:\n    {lines}",
            where=folder.absolute(),
            remedy="repair these files, or leave them out; all others are done",
        )
    return written


def predict_image(
    sam: Sam, image: Image.Image | NDArray[np.uint8], tile: int | None = None
) -> Predicted:
    """Predict one image at its own size.

    Args:
        sam: adapted, in evaluation mode, on any device.
        image: 8-bit RGB, an image or (H, W, 3).
        tile: the side of tiles in pixels for a large image; by default the image is resized as a
            whole.

    Returns:
        (H, W): for a binary task foreground probabilities, float32 in [0, 1]; else class numbers,
        uint8.

    Raises:
        DivergedError: the prediction is not finite.
        SettingsError: the GPU's memory is too small.
        ValueError: the array is not uint8 (H, W, 3).
    """
    pixels = np.asarray(image.convert("RGB") if isinstance(image, Image.Image) else image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"an image is uint8 (H, W, 3), not {pixels.dtype} {pixels.shape}")
    return np.concatenate(list(predict_tiled(sam, pixels, tile)))


def check_tile(tile: int | None) -> None:
    """Check the side of tiles that a user asks for.

    Raises:
        SettingsError: it is negative.
    """
    if tile is not None and tile < 0:
        raise SettingsError(
            f"tile must be 0 or positive, got {tile}", remedy="give 0 or a positive size"
        )


def to_device(sam: Sam, name: str) -> Sam:
    """Move a SAM to a device by torch's name for it; "auto" is a CUDA device if there is one.

    Raises:
        SettingsError: this machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return sam.to(name)
    except (AssertionError, RuntimeError) as error:  # torch without CUDA raises AssertionError
        raise SettingsError(
            f"cannot use device {name}: {str(error).splitlines()[0]}",
            remedy="choose another device, or auto",
        ) from None


def _pages(files: Sequence[ImageFile]) -> Iterator[tuple[ImageFile, Page | UnreadableImageError]]:
    """The pages of all files; for a file that cannot be read, the error."""
    for file in files:
        try:
            for page in read_pages(file.path):
                yield file, page
        except UnreadableImageError as error:
            yield file, error


def _predict(
    sam: Sam, pixels: NDArray[np.uint8], options: PredictOptions
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """The mask (H, W) and, if it is among the products, the probability in 256 steps."""
    tile = options.tile or None
    if options.tile is None:
        height, width = pixels.shape[:2]
        tile = tile_size((height, width), options.training_side or max(sam.image_size))
    masks, probabilities = [], []
    for strip in predict_tiled(sam, pixels, tile):
        masks.append((strip > THRESHOLD).astype(np.uint8) if sam.classes == 1 else strip)
        if "probability" in options.products:
            probabilities.append(np.rint(strip * 255).astype(np.uint8))
    return np.concatenate(masks), np.concatenate(probabilities) if probabilities else None


def _write(
    folder: Path,
    relative: Path,
    page: Page,
    pixels: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    probability: NDArray[np.uint8] | None,
    sam: Sam,
    options: PredictOptions,
    sources: Set[Path],
) -> list[Path]:
    written = []
    for product in options.products:
        if product == "coco":
            continue
        path = product_path(folder, relative, product, geo=bool(page.geo))
        _check_output(path, sources, options)  # again, since pages and GeoTIFFs have other names
        if product == "mask":
            write_mask(path, mask, sam.classes, page.geo)
        elif product == "probability" and probability is not None:
            write_grey(path, probability, page.geo)
        else:
            write_overlay(path, pixels, mask, sam.classes)
        written.append(path)
    return written


def _choose_rescaling(
    files: Sequence[ImageFile], text: str, log: Callable[[str], None]
) -> Rescaling:
    """The rescaling that an option asks for; "auto" reads all images of more than 8 bits once."""
    if text != "auto":
        return choose_rescaling(text, [])

    def deep_pages() -> Iterator[Page]:
        for _, page in _pages(files):
            if isinstance(page, Page) and page.pixels.dtype not in (np.uint8, np.bool_):
                try:
                    check_finite(page.pixels)
                except UnreadableImageError:
                    continue  # reported when the page is predicted
                yield page

    rescaling = choose_rescaling(text, deep_pages())
    for name, (low, high) in sorted(rescaling.ranges.items()):
        log(
            f"pixels of type {name}: {low:g} becomes black and {high:g} white, in all images"
            " (--rescale changes this)"
        )
    return rescaling


def _check_outputs(files: Sequence[ImageFile], folder: Path, options: PredictOptions) -> None:
    """Refuse to write two products to one file, or to overwrite an image or an existing file."""
    sources = _sources(files)
    if "coco" in options.products:
        _check_output(folder / COCO_NAME, sources, options)
    owners: dict[Path, Path] = {}
    for file in files:
        for product in options.products:
            if product == "coco":
                continue
            path = product_path(folder, file.relative, product)
            if path in owners:
                raise SettingsError(
                    f"{owners[path]} and {file.path} would have the same {product}, {path.name}",
                    where=folder.absolute(),
                    remedy="rename one of them, or predict them into different folders",
                )
            _check_output(path, sources, options)
            owners[path] = file.path


def _sources(files: Sequence[ImageFile]) -> Set[Path]:
    return {file.path.resolve() for file in files}


def _check_output(path: Path, sources: Set[Path], options: PredictOptions) -> None:
    """Refuse to overwrite an input image or, unless the options allow it, an existing file."""
    if path.resolve() in sources:
        raise SettingsError(
            "this mask would replace an image",
            where=path.absolute(),
            remedy="choose another folder",
        )
    if path.exists() and not options.overwrite:
        raise SettingsError(
            "this file already exists",
            where=path.absolute(),
            remedy="choose another folder, or pass --overwrite if it is an older mask",
        )


def _coco_name(file: ImageFile, page: Page) -> str:
    name = file.relative.with_name(file.relative.name + file.path.suffix).as_posix()
    return name if page.number is None else f"{name}#{page.number}"


def _size(pixels: NDArray[np.uint8]) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"
