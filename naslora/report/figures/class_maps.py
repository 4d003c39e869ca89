"""A picture of test images with the true and the predicted class of every pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch
from matplotlib.patheffects import Normal, Stroke
from scipy import ndimage

from naslora.evaluation.multiclass import MultiClassMetrics
from naslora.report.figures.panels import Draw, Image, Maps, check_panels, draw_panels, write_score

# For foreground classes in their order, again from the first beyond the last. Eleven colours are
# too many to be told apart with every eye, so each region also bears its class's number.
CLASS_COLOURS = (
    "#E6194B",
    "#3CB44B",
    "#FFE119",
    "#4363D8",
    "#F58231",
    "#911EB4",
    "#42D4F4",
    "#F032E6",
    "#BFEF45",
    "#FABED4",
    "#469990",
)
_COLOURED, _DIMMED = 0.62, 0.45  # share of the class's colour; brightness of background
_NUMBERED = 0.008  # share of the image from which on a region gets a number


def draw_class_maps(
    images: Sequence[Image],
    truths: Sequence[Image],
    predictions: Mapping[str, Maps],
    titles: Sequence[str],
    classes: Sequence[str],
    path: Path,
    caption: str = "",
) -> None:
    """Draw a grid: an image per row; the image first, then the truth, then each method's map.

    Background is dimmed, other classes are coloured and numbered. The legend has the classes that
    are in the picture.

    Args:
        images: RGB, (H, W, 3), uint8; each its own size.
        truths: true class numbers, (H, W).
        predictions: per column title, predicted class numbers, (H, W), at the size of the image.
        titles: a label per row.
        classes: names of all classes, background first.
        path: where to write the PNG; the PDF lies beside it.
        caption: a line under the picture, such as the rule by which images were chosen.

    Raises:
        ValueError: lists, sizes or class numbers do not fit each other.
        DiskError: the file cannot be written.
    """
    check_panels(images, truths, predictions, titles)
    shown = np.unique(np.concatenate([np.unique(m) for m in [*truths, *_flat(predictions)]]))
    if shown.max() >= len(classes):
        raise ValueError(f"class number {shown.max()}, of {len(classes)} classes")
    columns: dict[str, Draw] = {
        "Image": lambda axes, row: None,
        "Truth": partial(_draw, images, truths, None, classes),
    }
    for title, maps in predictions.items():
        columns[title] = partial(_draw, images, truths, maps, classes)
    legend = [
        (Patch(color=_colour(number)), f"{number} {classes[number]}")
        for number in shown.tolist()
        if number
    ]
    draw_panels(
        images,
        columns,
        titles,
        path,
        caption="; ".join(filter(None, (caption, "in the corner: mIoU of the image"))),
        legend=legend,
        legend_columns=min(len(columns), 7),
    )


def _flat(predictions: Mapping[str, Maps]) -> list[npt.NDArray[np.integer]]:
    return [map_ for maps in predictions.values() for map_ in maps]


def _colour(number: int) -> str:
    return CLASS_COLOURS[(number - 1) % len(CLASS_COLOURS)]


def _draw(
    images: Sequence[Image],
    truths: Sequence[Image],
    predicted: Maps | None,
    classes: Sequence[str],
    axes: Axes,
    row: int,
) -> None:
    numbers = truths[row] if predicted is None else np.asarray(predicted[row])
    if predicted is not None:
        metrics = MultiClassMetrics(classes, ["mIoU"])
        write_score(axes, metrics.update(numbers, truths[row])["mIoU"])
    palette = np.array([(0, 0, 0), *(to_rgb(_colour(i)) for i in range(1, len(classes)))])
    grey = images[row].mean(axis=2, keepdims=True) / 255
    coloured = (1 - _COLOURED) * grey + _COLOURED * palette[numbers]
    foreground = (numbers > 0)[..., None]
    axes.imshow(
        np.where(foreground, coloured, _DIMMED * np.repeat(grey, 3, axis=2)),
        aspect="auto",
        interpolation="antialiased",
    )
    for number in np.unique(numbers[numbers > 0]).tolist():
        _number_regions(axes, numbers == number, number)


def _number_regions(axes: Axes, here: npt.NDArray[np.bool_], number: int) -> None:
    """Write a class's number into each of its larger regions, where there is most room."""
    regions, count = ndimage.label(here)
    for index in range(1, count + 1):
        region = regions == index
        if region.mean() < _NUMBERED:
            continue
        room = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
        y, x = np.unravel_index(int(room.argmax()), room.shape)
        axes.text(
            float(x),
            float(y),
            str(number),
            ha="center",
            va="center",
            color="white",
            fontsize=7,
            path_effects=[Stroke(linewidth=1.8, foreground="#000000"), Normal()],
        )
