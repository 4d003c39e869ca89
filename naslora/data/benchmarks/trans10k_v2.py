"""Trans10K, second edition: eleven kinds of transparent objects (Xie et al., 2021)."""

from __future__ import annotations

from naslora.data.benchmarks.contract import register_benchmark
from naslora.data.benchmarks.trans10k import Trans10K
from naslora.data.masks import PaletteMask


@register_benchmark
class Trans10KV2(Trans10K):
    """The same photographs with twelve classes, in the order of the masks' palette indices.

    "Floor glass" is a glass wall, called "wall" in the paper's Table 3. The archive's folder is
    `Trans10K_cls12`; Trans2Seg's README calls it `Trans10K_v2`. This edition has no easy and hard.
    """

    name = "trans10k_v2"
    title = "Trans10K-v2"
    archives = ("trans10k_v2",)
    classes = (
        "background",
        "shelf",
        "jar or tank",
        "freezer",
        "window",
        "glass door",
        "eyeglass",
        "cup",
        "floor glass",
        "glass bowl",
        "water bottle",
        "storage box",
    )
    metrics = ("Acc", "mIoU", "mIoU_foreground", *(f"IoU_{name}" for name in classes))
    masks = PaletteMask(len(classes))
    expected = {"train": 5000, "val": 1000, "test": 4428}  # noqa: RUF012

    mask_folder = "masks_12"
    places = {"train": "train", "validation": "val", "test": "test"}  # noqa: RUF012
