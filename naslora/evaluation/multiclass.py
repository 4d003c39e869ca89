"""Metrics of several classes, background first, from confusion matrices (Trans10K)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from naslora.data.masks import IGNORE
from naslora.evaluation.means import ExactMean, balanced_error

Confusion = npt.NDArray[np.int64]
_MEANS = ("Acc", "Acc_foreground", "mIoU", "mIoU_foreground", "MAE", "mBER")


def multiclass_metrics(classes: Sequence[str]) -> tuple[str, ...]:
    """The names of the metrics of a task with these classes."""
    return (*_MEANS, *(f"IoU_{name}" for name in classes))


class MultiClassMetrics:
    """Metrics of a task with several classes over a test set, in constant memory.

    Values are fractions in [0, 1], except `MAE` (in class numbers) and `mBER` (percent). They are
    defined as in the evaluation scripts of Trans10K and Trans2Seg, with one difference: for
    accuracy and mBER, the script truncates logits to integers before it compares them.

    - `Acc`: share of the set's pixels that are correct; `Acc_foreground`: of its foreground pixels.
    - `IoU_<class>`: over the set. A class that is neither true nor predicted anywhere has none.
    - `mIoU`: the mean over the classes that have one; `mIoU_foreground`: without background.
    - `MAE`: mean absolute difference of class numbers, so that background predicted as class 2
      costs 2; averaged over images.
    - `mBER`: for each image and each foreground class in it, the mean of the error rates on the
      class's pixels and on all others (each of which must get its own class); averaged over
      images, then over classes.

    Void pixels (`IGNORE`) are ignored.
    """

    def __init__(self, classes: Sequence[str], names: Iterable[str] | None = None):
        known = multiclass_metrics(classes)
        self.classes = tuple(classes)
        self.names = known if names is None else tuple(names)
        unknown = [name for name in self.names if name not in known]
        if unknown or not self.names:
            raise ValueError(f"unknown metrics {unknown}; choose from {', '.join(known)}")
        self.images = 0
        self._confusion: Confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
        self._mae = ExactMean()
        self._errors = {name: ExactMean() for name in self.classes[1:]}

    def update(
        self, predicted: npt.NDArray[np.integer], target: npt.NDArray[np.integer]
    ) -> dict[str, float]:
        """Add one image.

        Args:
            predicted: predicted class numbers, (H, W), 0 to K - 1; 0 is the background.
            target: the true ones, likewise, or 255 for void.

        Returns:
            The image's own values and, for each class, the pixel counts `true_positives_<class>`,
            `false_positives_<class>` and `false_negatives_<class>`. Values that are undefined for
            the image are left out: the IoU of classes that are not in it, and without foreground
            `Acc_foreground`, `mBER` and `mIoU_foreground`.

        Raises:
            ValueError: shapes or values are not as above, or all pixels are void.
        """
        confusion = self._confusion_of(np.asarray(predicted), np.asarray(target))
        mae, errors = _mae(confusion), _balanced_errors(confusion)
        self.images += 1
        self._confusion += confusion
        self._mae.add(mae)
        for index, error in errors.items():
            self._errors[self.classes[index]].add(error)
        values = {"MAE": mae, **self._from_confusion(confusion)}
        if errors:
            values["mBER"] = float(np.mean(list(errors.values())))
        row = {name: values[name] for name in self.names if name in values}
        return row | self._counts(confusion)

    def compute(self) -> dict[str, float]:
        """The metrics over all images so far, by name.

        The IoU of a class that is neither true nor predicted anywhere is left out.

        Raises:
            ValueError: there was no image, or a foreground metric was requested and no image had
                foreground.
        """
        if not self.images:
            raise ValueError("no image was evaluated")
        values = {"MAE": self._mae.value(), **self._from_confusion(self._confusion)}
        errors = [mean.value() for mean in self._errors.values() if mean.count]
        if errors:
            values["mBER"] = float(np.mean(errors))
        needed = [name for name in self.names if not name.startswith("IoU_")]
        if undefined := [name for name in needed if name not in values]:
            raise ValueError(f"undefined without foreground: {', '.join(undefined)}")
        return {name: values[name] for name in self.names if name in values}

    def _confusion_of(
        self, predicted: npt.NDArray[np.integer], target: npt.NDArray[np.integer]
    ) -> Confusion:
        """Pixels by true class (rows) and predicted class (columns)."""
        count = len(self.classes)
        if predicted.shape != target.shape or target.ndim != 2 or not target.size:
            raise ValueError(
                f"prediction {predicted.shape} and truth {target.shape} must have the same size"
                " (H, W)"
            )
        counted = target != IGNORE
        if not counted.all():
            predicted, target = predicted[counted], target[counted]
        if not target.size:
            raise ValueError("every pixel of the mask is void")
        for numbers in (predicted, target):
            if not np.issubdtype(numbers.dtype, np.integer):
                raise ValueError(f"class numbers are whole numbers, not {numbers.dtype}")
            if numbers.min() < 0 or numbers.max() >= count:
                least, most = numbers.min(), numbers.max()
                raise ValueError(f"class numbers {least} to {most}, of {count} classes")
        pairs = target.astype(np.uint16) * np.uint16(count) + predicted.astype(np.uint16)
        return np.bincount(pairs.ravel(), minlength=count * count).reshape(count, count)

    def _counts(self, confusion: Confusion) -> dict[str, float]:
        right = np.diag(confusion)
        kinds = {
            "true_positives": right,
            "false_positives": confusion.sum(axis=0) - right,
            "false_negatives": confusion.sum(axis=1) - right,
        }
        return {
            f"{kind}_{name}": float(count)
            for kind, counts in kinds.items()
            for name, count in zip(self.classes, counts, strict=True)
        }

    def _from_confusion(self, confusion: Confusion) -> dict[str, float]:
        right, true, predicted = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
        union = true + predicted - right
        iou = {
            name: float(hits / total)
            for name, hits, total in zip(self.classes, right, union, strict=True)
            if total
        }
        values = {
            "Acc": float(right.sum() / true.sum()),
            "mIoU": float(np.mean(list(iou.values()))),
            **{f"IoU_{name}": value for name, value in iou.items()},
        }
        if true[1:].any():
            values["Acc_foreground"] = float(right[1:].sum() / true[1:].sum())
        if foreground := [iou[name] for name in self.classes[1:] if name in iou]:
            values["mIoU_foreground"] = float(np.mean(foreground))
        return values


def _mae(confusion: Confusion) -> float:
    numbers = np.arange(len(confusion))
    distance = np.abs(numbers[:, None] - numbers[None, :])
    return float((distance * confusion).sum() / confusion.sum())


def _balanced_errors(confusion: Confusion) -> dict[int, float]:
    """Balanced error, percent, of each foreground class that is in the image."""
    right, true = np.diag(confusion), confusion.sum(axis=1)
    return {
        index: balanced_error(
            int(right[index]),
            int(true[index]),
            int(right.sum() - right[index]),
            int(true.sum() - true[index]),
        )
        for index in range(1, len(confusion))
        if true[index]
    }
