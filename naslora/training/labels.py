"""Checks of the labels that losses are computed from."""

from __future__ import annotations

from torch import Tensor

from naslora.data.masks import IGNORE


def check_labels(labels: Tensor, classes: int) -> None:
    """Check that labels are classes or void.

    Labels on a GPU are not checked, since that would wait for the GPU: check them before.

    Args:
        labels: uint8, of any shape.
        classes: 1 for a binary task, with labels 0 and 1; else K, with labels 0..K-1.

    Raises:
        ValueError: there is another label.
    """
    if labels.device.type != "cpu":
        return
    highest = 1 if classes == 1 else classes - 1
    if int(labels.max()) <= highest:
        return
    other = labels[(labels > highest) & (labels != IGNORE)]
    if len(other):
        expected = "0 or 1" if highest == 1 else f"0 to {highest}"
        raise ValueError(
            f"invalid label {int(other[0])}: expected {expected}, or {IGNORE} for void"
        )
