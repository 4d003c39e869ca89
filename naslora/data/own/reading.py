"""Conversion of mask values to labels."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from naslora.data.images import UnreadableImageError
from naslora.data.masks import Labels
from naslora.data.own.survey import Kind, RawMask


@dataclass(frozen=True)
class MaskMapping:
    """A rule that converts mask values to labels.

    Attributes:
        kind: kind of the values; see `Survey`.
        ranges: (lowest value, highest value, label), label `IGNORE` for void. If ranges overlap,
            the last one counts.
        rest: the label of all other values; None if there must be none.
    """

    kind: Kind
    ranges: tuple[tuple[int, int, int], ...]
    rest: int | None = None

    def label_of(self, value: int) -> int:
        """The label of one value that `ranges` or `rest` cover."""
        matching = (label for low, high, label in reversed(self.ranges) if low <= value <= high)
        label = next(matching, self.rest)
        assert label is not None
        return label

    def labels(self, raw: RawMask) -> Labels:
        """Labels uint8 (H, W).

        Raises:
            UnreadableImageError: the mask holds a value that was not in any mask when the data were
                described.
        """
        values = raw.values
        if self.kind == "colour" and raw.kind != "colour":
            values = values * 0x010101
        labels = np.full(values.shape, -1 if self.rest is None else self.rest, np.int16)
        for low, high, label in self.ranges:
            labels[(values >= low) & (values <= high)] = label
        if (labels < 0).any():
            unknown = np.unique(values[labels < 0])[:3]
            raise UnreadableImageError(
                "has values that were not in any mask when the data were described: "
                + ", ".join(map(str, unknown))
            )
        return labels.astype(np.uint8)


@dataclass(frozen=True)
class MaskInterpretation:
    """How masks are read, and what follows from it.

    Attributes:
        reading: the rule.
        classes: one foreground class, or all with the background first.
        lines: lines to print about how masks were interpreted.
        pixels: number of pixels of each label.
    """

    reading: MaskMapping
    classes: tuple[str, ...]
    lines: list[str]
    pixels: Counter[int] = field(default_factory=Counter)
