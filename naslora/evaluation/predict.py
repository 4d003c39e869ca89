"""Masks of images of one's own, which no benchmark lists, by a trained adapter."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from naslora.core.background import map_in_background, prefetch
from naslora.core.errors import AuditError, DivergedError, SettingsError
from naslora.core.files import whole_file
from naslora.data.images import UnreadableImageError, decode, to_rgb
from naslora.evaluation.binary import THRESHOLD
from naslora.evaluation.predictions import Predicted, predicted_map
from naslora.sam.building import Sam

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_NAMED = 5  # unreadable files that an error lists


def predict_files(
    sam: Sam,
    images: Iterable[Path],
    folder: Path,
    *,
    probability: bool = False,
    overwrite: bool = False,
) -> list[Path]:
    """Write a mask `folder/<name>.png` for each image, at the image's own size.

    A mask of a binary task is 0 and 255 (foreground: probability above 0.5), or the probability
    itself on a scale of 0 to 255. One of a multi-class task holds class numbers, background 0,
    with a palette that makes them visible.

    Args:
        sam: adapted, in evaluation mode, on any device; see `naslora.methods.state`.
        images: image files, or folders of them (without the folders inside).
        folder: where the masks go; it is made if it is not there.
        probability: write probabilities.
        overwrite: replace masks that are there already.

    Returns:
        The masks written, in the order of the images.

    Raises:
        SettingsError: a file or folder is missing, or holds no image; two images have one name; a
            mask is there already, or would replace an image; or a multi-class task has no one
            probability. Nothing is written then.
        AuditError: some images cannot be read. The masks of all others are written.
        DivergedError: a prediction is not finite.
        DiskError: a mask cannot be written.
    """
    if probability and sam.classes > 1:
        raise SettingsError(
            f"this adapter tells {sam.classes} classes apart, and has no one probability",
            remedy="ask for class numbers, as is the default",
        )
    masks = _masks(find_images(images), folder, overwrite)
    problems: list[str] = []

    def predicted() -> Iterable[tuple[Path, Predicted]]:
        for (path, mask), image in zip(masks.items(), prefetch(map(_read, masks)), strict=True):
            if isinstance(image, UnreadableImageError):
                problems.append(f"{path} {image}")
            else:
                yield mask, predict_image(sam, image)

    def write(named: tuple[Path, Predicted]) -> Path:
        mask, prediction = named
        with whole_file(mask) as temporary:
            _picture(prediction, sam.classes, probability).save(temporary, "PNG")
        return mask

    written = list(map_in_background(write, predicted()))
    if problems:
        more = f"; and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        raise AuditError(
            f"{len(problems)} of {len(masks)} images have no mask: "
            + "; ".join(problems[:_NAMED])
            + more,
            where=folder,
            remedy="save them as 8-bit grey or RGB images, or leave them out",
        )
    return written


@torch.inference_mode()
def predict_image(sam: Sam, image: Image.Image) -> Predicted:
    """Predict one image at its own size.

    Args:
        sam: adapted, in evaluation mode, on any device.
        image: 8-bit RGB of any size (W, H); it is resized to the SAM's, bilinearly.

    Returns:
        (H, W): of a binary task foreground probabilities, float32 in [0, 1]; else class numbers,
        uint8.

    Raises:
        DivergedError: the prediction is not finite.
    """
    height, width = sam.image_size
    pixels = np.array(image.resize((width, height), Image.Resampling.BILINEAR))
    batch = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(sam.pixel_mean.device)
    predicted = predicted_map(sam(batch), (image.height, image.width))
    if not np.isfinite(predicted).all():
        raise DivergedError("the model predicts values that are not finite")
    return predicted


def to_device(sam: Sam, name: str) -> Sam:
    """Move a SAM to a device by torch's name for it; "auto" is a CUDA device if there is one.

    Raises:
        SettingsError: this machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return sam.to(name)
    except (AssertionError, RuntimeError) as error:  # torch without CUDA asserts
        raise SettingsError(
            f"cannot use device {name}: {str(error).splitlines()[0]}",
            remedy="choose another device, or auto",
        ) from None


def find_images(paths: Iterable[Path]) -> list[Path]:
    """Image files as they are given, and for each folder the image files in it, by name.

    Raises:
        SettingsError: a path is not there, a folder holds no image, or there is no path at all.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if not path.is_dir():
            if not path.is_file():
                raise SettingsError("there is no such image or folder", where=path)
            found[path] = None
            continue
        images = sorted(
            p
            for p in path.iterdir()
            if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file() and not p.name.startswith(".")
        )
        if not images:
            raise SettingsError(
                "there is no image in this folder",
                where=path,
                remedy=f"name a folder with files {', '.join(IMAGE_SUFFIXES)}, or the files",
            )
        found |= dict.fromkeys(images)
    if not found:
        raise SettingsError("there is no image to predict", remedy="name files or folders")
    return list(found)


def _masks(images: Sequence[Path], folder: Path, overwrite: bool) -> dict[Path, Path]:
    """Which mask each image gets."""
    sources = {path.resolve() for path in images}
    owners: dict[Path, Path] = {}
    for path in images:
        mask = folder / f"{path.stem}.png"
        if mask in owners:
            raise SettingsError(
                f"{owners[mask]} and {path} would have the same mask, {mask.name}",
                where=folder,
                remedy="rename one of them, or predict them into different folders",
            )
        if mask.resolve() in sources:
            raise SettingsError(
                "this mask would replace an image", where=mask, remedy="choose another folder"
            )
        if mask.exists() and not overwrite:
            raise SettingsError(
                "this file is there already",
                where=mask,
                remedy="choose another folder, or say --overwrite if it is an older mask",
            )
        owners[mask] = path
    return {path: mask for mask, path in owners.items()}


def _read(path: Path) -> Image.Image | UnreadableImageError:
    """An upright RGB image, or why there is none."""
    try:
        return to_rgb(decode(path.read_bytes()))
    except OSError as error:
        return UnreadableImageError(f"cannot be read: {error.strerror}")
    except UnreadableImageError as error:
        return error


def _picture(predicted: Predicted, classes: int, probability: bool) -> Image.Image:
    if probability:
        return Image.fromarray(np.rint(predicted * 255).astype(np.uint8))
    if classes == 1:
        return Image.fromarray((predicted > THRESHOLD).astype(np.uint8) * np.uint8(255))
    picture = Image.fromarray(predicted)
    picture.putpalette(_palette(classes))
    return picture


def _palette(classes: int) -> list[int]:
    """Black for the background, then hues as far apart as they come, as 8-bit R, G, B in a row."""
    golden = (5**0.5 - 1) / 2
    colours = [colorsys.hsv_to_rgb(i * golden % 1, 0.8, 1.0) for i in range(classes - 1)]
    return [0, 0, 0, *(round(255 * value) for colour in colours for value in colour)]
