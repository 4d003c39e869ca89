"""Table 3: methods on Trans10K-v2, twelve classes."""

from __future__ import annotations

from statistics import fmean

from naslora.paper.published import printed, rows
from naslora.report.tables.model import TableSpec, metric_column
from naslora.report.tables.table2 import CLASS_LOSS

# The paper's column of each class, in the order of its table, and the class in our records.
CLASSES = {
    "background": "background",
    "shelf": "shelf",
    "jar": "jar or tank",
    "freezer": "freezer",
    "window": "window",
    "door": "glass door",
    "eyeglass": "eyeglass",
    "cup": "cup",
    "wall": "floor glass",
    "bowl": "glass bowl",
    "bottle": "water bottle",
    "box": "storage box",
}
_ROUNDING = 0.011  # of a mean of rounded numbers, itself rounded


def rows_with_mean_over(classes: tuple[str, ...]) -> frozenset[str]:
    """The paper's rows whose mIoU is the mean of their IoU over these classes."""
    return frozenset(row for row in rows("3") if _is_mean(row, classes))


def _is_mean(row: str, classes: tuple[str, ...]) -> bool:
    stated = printed("3", row, "mIoU")
    own = [number.value for name in classes if (number := printed("3", row, name))]
    return stated is not None and abs(fmean(own) - stated.value) <= _ROUNDING


_ALL, _FOREGROUND = tuple(CLASSES), tuple(CLASSES)[1:]
_MEAN_OF_ALL, _MEAN_OF_FOREGROUND = rows_with_mean_over(_ALL), rows_with_mean_over(_FOREGROUND)
_SET = ("trans10k_v2", "test")
_IMAGES = (4428,)

COLUMNS = (
    *(
        metric_column(paper, "IoU", *_SET, f"IoU_{ours}", _IMAGES, title=f"IoU {paper}")
        for paper, ours in CLASSES.items()
    ),
    metric_column("Acc", "", *_SET, "Acc", _IMAGES, decimals=2),
    metric_column("mIoU", "", *_SET, "mIoU", _IMAGES, printed_of=_MEAN_OF_ALL),
    metric_column(
        "mIoU_foreground",
        "",
        *_SET,
        "mIoU_foreground",
        _IMAGES,
        printed="mIoU",
        printed_of=_MEAN_OF_FOREGROUND,
    ),
)


def _named(chosen: frozenset[str]) -> str:
    return ", ".join(row for row in rows("3") if row in chosen)


TABLE = TableSpec(
    "3",
    "Multi-class semantic segmentation, Trans10K-v2",
    COLUMNS,
    cited=("Translab", "Trans2Seg"),
    notes=(
        "mIoU (all classes) is the mean of all twelve; mIoU (foreground) leaves background out. "
        "The paper prints one mIoU, which stands beside both.",
        f"By the paper's own columns, its mIoU is the mean of twelve for {_named(_MEAN_OF_ALL)}; "
        f"of eleven for {_named(_MEAN_OF_FOREGROUND)}; and neither for "
        f"{_named(frozenset(rows('3')) - _MEAN_OF_ALL - _MEAN_OF_FOREGROUND)}. A verdict is given "
        "where the definition is ours, and nowhere for the last group.",
        CLASS_LOSS,
    ),
)
