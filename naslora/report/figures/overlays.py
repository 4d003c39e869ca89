"""Images with masks, classes or heat on them, as arrays that figures show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from naslora.report.figures.style import FALSE_ALARM, MISSED, RIGHT

Picture = NDArray[Any]  # RGB, (H, W, 3), uint8, or float in [0, 1]
Mask = NDArray[np.bool_]
Contour = NDArray[np.float64]  # (N, 2): x and y in pixels, the centre of the first pixel at (0, 0)

HEAT = "YlOrRd"  # a colour map of matplotlib
_NUMBERED = 0.008  # share of the image that a region must cover to get a number


def error_map(predicted: Mask, truth: Mask) -> Picture:
    """A binary mask on black: right foreground white, missed and false foreground in colours."""
    codes = np.where(predicted, np.where(truth, 1, 3), np.where(truth, 2, 0))
    return _painted(codes, {1: RIGHT, 2: MISSED, 3: FALSE_ALARM})


def class_map(numbers: NDArray[np.integer], colours: Sequence[str]) -> Picture:
    """Class numbers (H, W) on black, in the colours of the foreground classes."""
    return _painted(numbers, dict(enumerate(colours, start=1)))


def class_overlay(image: Picture, numbers: NDArray[np.integer], colours: Sequence[str]) -> Picture:
    """The colours of the foreground classes over an image in grey."""
    return _painted(numbers, dict(enumerate(colours, start=1)), image)


def boundary_overlay(
    image: Picture, numbers: NDArray[np.integer], colours: Sequence[str] = ()
) -> Picture:
    """An image with lines along the inside of each region; the background beyond them is darker.

    Args:
        image: RGB, uint8.
        numbers: class numbers (H, W).
        colours: of the lines of each foreground class; without any, all are white.
    """
    from matplotlib.colors import to_rgb
    from skimage.color import label2rgb
    from skimage.morphology import dilation
    from skimage.segmentation import find_boundaries

    inner = find_boundaries(numbers, mode="inner") & (numbers > 0)
    outer = find_boundaries(numbers, mode="outer") & (numbers == 0)
    if colours:  # thicker lines, since colours stand out less than white
        inner = dilation(inner) & (numbers > 0)
    lines = np.where(inner, numbers, 0)
    shown = [colours[n - 1] if colours else RIGHT for n in np.unique(lines).tolist() if n]
    darker = np.where((dilation(outer) & (numbers == 0))[..., None], image // 2, image)
    palette = [to_rgb(colour) for colour in shown] or None
    return np.asarray(
        label2rgb(lines, darker, colors=palette, alpha=1, bg_label=0, bg_color=None, saturation=1)
    )


def heat_overlay(image: Picture, heat: NDArray[np.floating]) -> Picture:
    """A map in [0, 1] over an image in light grey; its opacity grows with the heat."""
    import matplotlib
    from skimage.color import gray2rgb, rgb2gray

    grey = gray2rgb(0.35 + 0.65 * rgb2gray(image))
    colours = matplotlib.colormaps[HEAT](heat)[..., :3]
    cover = 0.15 + 0.75 * heat[..., None]
    return np.asarray((1 - cover) * grey + cover * colours)


def thumbnail(picture: Picture, side: int) -> Picture:
    """A picture in [0, 1], downscaled with anti-aliasing so that no side exceeds `side`."""
    from skimage.transform import resize
    from skimage.util import img_as_float

    shape = smaller(picture.shape, side)
    if shape == picture.shape[:2]:
        return np.asarray(img_as_float(picture))
    return np.asarray(np.clip(resize(img_as_float(picture), shape, anti_aliasing=True), 0, 1))


def smaller_labels(labels: NDArray[Any], side: int) -> NDArray[Any]:
    """Class numbers (H, W), downscaled likewise but by nearest neighbour."""
    from skimage.transform import resize

    shape = smaller(labels.shape, side)
    if shape == labels.shape:
        return labels
    return np.asarray(
        resize(labels, shape, order=0, preserve_range=True, anti_aliasing=False), labels.dtype
    )


def smaller(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """Height and width of a picture whose longer side is at most `side`."""
    height, width = shape[:2]
    scale = min(1.0, side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def contours(mask: Mask) -> list[Contour]:
    """The closed outlines of a mask's regions; one at the image's border is closed along it."""
    from skimage.measure import find_contours

    found = find_contours(np.pad(mask.astype(float), 1), 0.5)
    return [outline[:, ::-1] - 1 for outline in found]


def numbered_regions(numbers: NDArray[np.integer]) -> Iterator[tuple[float, float, int]]:
    """x, y and class number of each connected foreground region that is large enough for a label.

    The point is the one farthest from the region's border.
    """
    from scipy.ndimage import distance_transform_edt
    from skimage.measure import label, regionprops

    for region in regionprops(label(numbers, background=0)):
        if region.area < _NUMBERED * numbers.size:
            continue
        inside = np.pad(region.image, 1)
        row, column = np.unravel_index(distance_transform_edt(inside).argmax(), inside.shape)
        y, x = region.bbox[0] + int(row) - 1, region.bbox[1] + int(column) - 1
        yield float(x), float(y), int(numbers[y, x])


def _painted(
    codes: NDArray[np.integer], colours: dict[int, str], image: Picture | None = None
) -> Picture:
    """Codes in their colours, over an image in grey or on black; code 0 is background."""
    from matplotlib.colors import to_rgb
    from skimage.color import gray2rgb, label2rgb, rgb2gray

    present = [code for code in np.unique(codes).tolist() if code]
    if not present and image is None:
        return np.zeros((*codes.shape, 3))
    # label2rgb gives the first colour to the least label that is there, and so on.
    palette = [to_rgb(colours[code]) for code in present]
    if image is None:
        return np.asarray(label2rgb(codes, colors=palette, bg_label=0, bg_color=(0, 0, 0)))
    grey = gray2rgb(rgb2gray(image))
    return np.asarray(
        label2rgb(codes, grey, colors=palette or None, alpha=0.6, bg_label=0, bg_color=None)
    )
