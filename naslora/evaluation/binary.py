"""Metrics of one foreground class: structure, alignment and weighted F, overlap, balanced error."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from naslora.core.errors import DivergedError
from naslora.data.masks import IGNORE
from naslora.evaluation.means import ExactMean, balanced_error

FloatArray = npt.NDArray[np.floating]
LabelArray = npt.NDArray[np.uint8]

THRESHOLD = 0.5
T_JAC_FLOOR = 0.65
# Beta squared: 1 as in Margolin et al., 0.3 as in AutoGluon.
WEIGHTED_F = {"weighted_F": 1.0, "weighted_F_03": 0.3}


@dataclass(frozen=True)
class Counts:
    """Pixel counts of one image, or of a set of images, at the threshold."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @classmethod
    def of(cls, foreground: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> Counts:
        both = int(np.count_nonzero(foreground & truth))
        predicted, true = int(np.count_nonzero(foreground)), int(np.count_nonzero(truth))
        return cls(both, predicted - both, true - both, truth.size - predicted - true + both)

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
            self.true_negatives + other.true_negatives,
        )

    def iou(self) -> float:
        """Intersection over union; 1 where truth and prediction are both empty."""
        union = self.true_positives + self.false_positives + self.false_negatives
        return self.true_positives / union if union else 1.0

    def dice(self) -> float:
        """Dice coefficient; 1 where truth and prediction are both empty."""
        total = 2 * self.true_positives + self.false_positives + self.false_negatives
        return 2 * self.true_positives / total if total else 1.0

    def accuracy(self) -> float:
        """Share of correctly classified pixels."""
        right = self.true_positives + self.true_negatives
        return right / (right + self.false_positives + self.false_negatives)

    def thresholded_jaccard(self) -> float:
        """The Jaccard index where it is at least 0.65, else 0 (ISIC 2018)."""
        jaccard = self.iou()
        return jaccard if jaccard >= T_JAC_FLOOR else 0.0

    def ber(self) -> float:
        """Balanced error rate, percent."""
        return balanced_error(
            self.true_positives,
            self.true_positives + self.false_negatives,
            self.true_negatives,
            self.true_negatives + self.false_positives,
        )


_FROM_COUNTS: dict[str, Callable[[Counts], float]] = {
    "IoU": Counts.iou,
    "Dice": Counts.dice,
    "Acc": Counts.accuracy,
    "T_Jac": Counts.thresholded_jaccard,
    "BER_image": Counts.ber,
}
_E_MEASURES = ("E_measure", "E_measure_max", "E_measure_adaptive")
BINARY_METRICS = ("S_measure", *_E_MEASURES, *WEIGHTED_F, *_FROM_COUNTS, "BER")


class BinaryMetrics:
    """Metrics of a binary task over a test set, in constant memory.

    Values are fractions in [0, 1], except the balanced error rates, which are percentages.

    - `S_measure` (alpha 0.5), `E_measure` (mean over the 256 thresholds), `E_measure_adaptive`
      (threshold: twice the mean of the prediction), `weighted_F` (beta squared 1) and
      `weighted_F_03` (0.3) are pysodmetrics' values, averaged over images. As in Conv-LoRA's
      evaluation, each prediction is stretched to [0, 1] first (unless it is constant), and is not
      rounded to 8 bits. These metrics therefore depend on the order and spacing of an image's
      probabilities, not on their level.
      `E_measure_max` is the maximum over thresholds of the set's mean curve.
    - `IoU`, `Dice`, `Acc`, `T_Jac`, `BER_image`: foreground where the probability is above 0.5;
      averaged over images. IoU and Dice of an empty prediction for an empty truth are 1.
    - `BER`: from the pixel counts of the whole set, as in the official script of SBU.

    Oddities of the library's definitions are kept, so that numbers stay comparable: E divides by
    N - 1 for N pixels, so a perfect threshold scores N / (N - 1); weighted F of an image without
    foreground is 0, and misses cost less within three pixels of the image's border. One exception:
    where a mask's centroid lies in the last row or column, a part of the image is empty and the
    library's S is NaN; here, the empty part counts as 0.

    Void pixels (`IGNORE`) are excluded from pixel counts. S, E and weighted F need whole images:
    for them, a void pixel is background, predicted with the image's lowest probability.
    """

    def __init__(self, names: Iterable[str] = BINARY_METRICS):
        self.names = tuple(names)
        unknown = [name for name in self.names if name not in BINARY_METRICS]
        if unknown or not self.names:
            raise ValueError(f"unknown metrics {unknown}; choose from {', '.join(BINARY_METRICS)}")
        self.images = 0
        self._counts = Counts(0, 0, 0, 0)
        self._means = {name: ExactMean() for name in self.names if name != "BER"}
        self._curve = [ExactMean() for _ in range(256)] if "E_measure_max" in self.names else []

    def update(self, probability: FloatArray, target: LabelArray) -> dict[str, float]:
        """Add one image.

        Args:
            probability: foreground probabilities, (H, W) or (1, H, W), in [0, 1].
            target: the true mask, (H, W), 0 or 1, or 255 for void.

        Returns:
            The image's own values; for `BER`, the four pixel counts that it is computed from.

        Raises:
            DivergedError: a probability is not finite.
            ValueError: shapes or values are not as above, or all pixels are void.
        """
        prediction, truth, void = _checked(probability, target)
        row: dict[str, float] = {}
        if void is None:
            counts = Counts.of(prediction > THRESHOLD, truth)
        else:
            counts = Counts.of(prediction[~void] > THRESHOLD, truth[~void])
            prediction = np.where(void, prediction[~void].min(), prediction)
        for name, metric in _FROM_COUNTS.items():
            row[name] = metric(counts)
        if "S_measure" in self.names:
            row["S_measure"] = _structure(prediction, truth)
        if any(name in self.names for name in _E_MEASURES):
            curve, row["E_measure_adaptive"] = _alignment(prediction, truth)
            row["E_measure"], row["E_measure_max"] = float(curve.mean()), float(curve.max())
            for mean, value in zip(self._curve, curve, strict=False):
                mean.add(value)
        for name, beta_squared in WEIGHTED_F.items():
            if name in self.names:
                row[name] = _weighted_f(prediction, truth, beta_squared)
        row = {name: row[name] for name in self.names if name != "BER"}
        for name, value in row.items():
            self._means[name].add(value)
        self._counts += counts
        self.images += 1
        if "BER" in self.names:
            row |= {name: float(value) for name, value in vars(counts).items()}
        return row

    def compute(self) -> dict[str, float]:
        """The metrics over all images so far, by name.

        Raises:
            ValueError: there was no image.
        """
        if not self.images:
            raise ValueError("no image was evaluated")
        values = {name: mean.value() for name, mean in self._means.items()}
        if "E_measure_max" in values:
            values["E_measure_max"] = max(mean.value() for mean in self._curve)
        if "BER" in self.names:
            values["BER"] = self._counts.ber()
        return {name: values[name] for name in self.names}


def _checked(
    probability: FloatArray, target: LabelArray
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.bool_] | None]:
    """Check an image; return prediction, truth and, if there are any, the void pixels."""
    prediction, truth = np.asarray(probability, dtype=np.float64), np.asarray(target)
    if prediction.ndim == 3 and len(prediction) == 1:
        prediction = prediction[0]
    if prediction.ndim != 2 or prediction.shape != truth.shape:
        raise ValueError(
            f"prediction {prediction.shape} and truth {truth.shape} must have the same size (H, W)"
        )
    if truth.size < 2:
        raise ValueError("the E-measure is undefined for fewer than two pixels")
    if not np.isfinite(prediction).all():
        raise DivergedError("the model predicts values that are not finite")
    if prediction.min() < 0 or prediction.max() > 1:
        raise ValueError("probabilities must lie in [0, 1]")
    void = truth == IGNORE
    if void.any():
        if void.all():
            raise ValueError("every pixel of the mask is void")
        truth = np.where(void, 0, truth)
    if truth.max() > 1 or truth.min() < 0:
        raise ValueError(f"a binary mask holds 0 and 1, not {truth.min()} to {truth.max()}")
    return prediction, truth.astype(bool), void if void.any() else None


# The library is imported where it is used: it loads OpenCV and scikit-image, which takes seconds.


def _grey(
    prediction: npt.NDArray[np.float64], truth: npt.NDArray[np.bool_]
) -> dict[str, npt.NDArray[np.float64]]:
    """Prediction and truth on the library's scale, 0 to 255; it stretches the prediction itself."""
    return {"pred": prediction * 255, "gt": truth.astype(np.float64) * 255}


def _structure(prediction: npt.NDArray[np.float64], truth: npt.NDArray[np.bool_]) -> float:
    from py_sod_metrics import Smeasure

    measure = Smeasure(alpha=0.5)
    ssim = measure.ssim
    measure.ssim = lambda pred, gt: ssim(pred, gt) if pred.size else 0.0
    measure.step(**_grey(prediction, truth))
    return float(measure.get_results()["sm"])


def _alignment(
    prediction: npt.NDArray[np.float64], truth: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], float]:
    from py_sod_metrics import Emeasure

    measure = Emeasure()
    measure.step(**_grey(prediction, truth))
    result = measure.get_results()["em"]
    return np.asarray(result["curve"], dtype=np.float64), float(result["adp"])


def _weighted_f(
    prediction: npt.NDArray[np.float64], truth: npt.NDArray[np.bool_], beta_squared: float
) -> float:
    from py_sod_metrics import WeightedFmeasure

    measure = WeightedFmeasure(beta=beta_squared)  # its `beta` is beta squared
    measure.step(**_grey(prediction, truth))
    return float(measure.get_results()["wfm"])
