"""Table 2: methods on Trans10K-v1, transparent things and stuff."""

from __future__ import annotations

from naslora.report.tables.model import Column, TableSpec, metric_column

# Appendix B gives the number of images of easy and hard together.
_SETS, _IMAGES = ("easy", "hard"), (4428,)
# A note under Tables 2 and 3.
CLASS_LOSS = (
    "The class loss is that of the paper's footnote on multi-class tasks, a cross-entropy per mask "
    "token; the sum of eq. (cls) in its Appendix A runs over pixels."
)


def _columns(test_set: str) -> tuple[Column, ...]:
    head = test_set.capitalize()

    def column(key: str, metric: str, widest: float = 1.0) -> Column:
        return metric_column(
            f"{test_set}_{key}",
            head,
            "trans10k_v1",
            test_set,
            metric,
            _IMAGES,
            counted=_SETS,
            widest=widest,
        )

    return (
        column("Acc", "Acc_foreground"),
        column("mIoU", "mIoU_foreground"),
        # Of class numbers: 0.01 is one per cent of the pixels, off by one class.
        column("MAE", "MAE", widest=0.01),
        column("mBER", "mBER"),
    )


COLUMNS = (*_columns("easy"), *_columns("hard"))

TABLE = TableSpec(
    "2",
    "Multi-class semantic segmentation, Trans10K-v1",
    COLUMNS,
    cited=("Translab",),
    notes=(
        "The paper's Acc is over foreground pixels and its mIoU over the two foreground classes, "
        "as in TransLab's evaluation. MAE is of class numbers, a fraction and not percent.",
        "The paper heads one of its columns MBER ↑; less is better in both.",
        CLASS_LOSS,
    ),
)
