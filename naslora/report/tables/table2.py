"""Table 2: methods on Trans10K-v1, things and stuff of glass."""

from __future__ import annotations

from dataclasses import replace

from naslora.report.tables.model import Column, TableSpec

# Appendix B tells how many images easy and hard have together.
_SETS, _IMAGES = ("easy", "hard"), (4428,)


def _columns(test_set: str) -> tuple[Column, ...]:
    head = test_set.capitalize()
    accuracy = Column(
        f"{test_set}_Acc",
        f"{head} Acc",
        "trans10k_v1",
        test_set,
        "Acc_foreground",
        _IMAGES,
        decimals=2,
        counted=_SETS,
    )
    error = replace(accuracy, scale=1.0, higher_is_better=False)
    return (
        accuracy,
        replace(accuracy, key=f"{test_set}_mIoU", title=f"{head} mIoU", metric="mIoU_foreground"),
        # Of class numbers: 0.01 is one per cent of the pixels, off by one class.
        replace(
            error,
            key=f"{test_set}_MAE",
            title=f"{head} MAE",
            metric="MAE",
            decimals=3,
            widest=0.01,
        ),
        replace(error, key=f"{test_set}_mBER", title=f"{head} mBER", metric="mBER"),
    )


COLUMNS = (*_columns("easy"), *_columns("hard"))

TABLE = TableSpec(
    "2",
    "Multi-class semantic segmentation, Trans10K-v1",
    COLUMNS,
    cited=("Translab",),
    notes=(
        "Acc is over foreground pixels and mIoU over the two foreground classes, as in TransLab's "
        "evaluation. MAE is of class numbers, a fraction and not percent.",
        "The paper heads one of its columns MBER ↑; less is better in both.",
    ),
)
