"""Options for user-supplied images, where the files alone are ambiguous."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from naslora.core.validation import Settings
from naslora.study.sections import Name

VOID = "void"
BACKGROUND = "background"
# Background included. Labels are uint8, and 255 is void.
MOST_CLASSES = 250
_ENTRY = re.compile(r"(?P<low>#[0-9a-fA-F]{6}|\d+)(?:-(?P<high>\d+))?\s*=\s*(?P<name>.+)")


@dataclass(frozen=True)
class ValueRange:
    """Mask values that mean one class: grey levels or indices `low` to `high`, or one colour.

    A colour is the number 0xRRGGBB.
    """

    low: int
    high: int
    name: str
    is_colour: bool = False


class OwnOptions(Settings):
    """Options of `naslora.data.own.own_data`; each is a command-line option of the same name.

    Attributes:
        name: name of the task; by default that of the folder or file.
        classes: one name, for the foreground; or the names of all classes, the background first, in
            ascending order of their mask values.
        ignore: the mask value of void pixels, which count neither in a loss nor in a metric.
        mask_values: what mask values mean, `VALUE=CLASS,…`: a VALUE is a number, a range `LOW-HIGH`
            or a colour `#rrggbb`, a CLASS a name, "background" or "void". Values that are not
            listed are background, unless that is listed too.
        resize_masks: resize masks of another size to that of their image, by nearest neighbour.
        crowd: what a COCO annotation with `iscrowd` marks.
        test_share: share of the images that is held out for testing; 0 for none, and then results
            are reported on the validation images.
        val_share: share of the images that is held out for validation.
    """

    name: Name | None = None
    classes: tuple[str, ...] | None = None
    ignore: Annotated[int, Field(ge=0, lt=1 << 16)] | None = None
    mask_values: tuple[ValueRange, ...] | None = None
    resize_masks: bool = False
    crowd: Literal["void", "foreground"] = "void"
    test_share: Annotated[float, Field(ge=0, lt=1)] = 0.2
    val_share: Annotated[float, Field(gt=0, lt=1)] = 0.15

    @field_validator("classes", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return tuple(name.strip() for name in value.split(","))

    @field_validator("classes")
    @classmethod
    def _are_names(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and (not all(value) or len(set(value)) < len(value)):
            raise ValueError("names of classes must be distinct, and none may be empty")
        if value is not None and VOID in value:
            raise ValueError("void is not a class; use --ignore to say which value is void")
        return value

    @field_validator("mask_values", mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        return parse_mask_values(value) if isinstance(value, str) else value


def parse_mask_values(text: str) -> tuple[ValueRange, ...]:
    """Read `VALUE=CLASS,…`.

    Raises:
        ValueError: an entry cannot be read, ranges overlap, or no class is named.
    """
    found = []
    for entry in text.split(","):
        match = _ENTRY.fullmatch(entry.strip())
        if match is None:
            raise ValueError(
                f"cannot read {entry!r}; write VALUE=CLASS, such as 255=road, 128-255=road or "
                "#ff0000=road"
            )
        low, name = match["low"], match["name"].strip()
        if low.startswith("#"):
            if match["high"]:
                raise ValueError(f"{entry!r} is a range of colours; list them one by one")
            found.append(ValueRange(int(low[1:], 16), int(low[1:], 16), name, True))
        else:
            high = int(match["high"] or low)
            if high < int(low):
                raise ValueError(f"{entry!r} is an empty range")
            found.append(ValueRange(int(low), high, name))
    ordered = sorted(found, key=lambda one: one.low)
    if len({one.is_colour for one in found}) > 1:
        raise ValueError("values are either numbers or colours")
    if any(a.high >= b.low for a, b in pairwise(ordered)):
        raise ValueError("ranges of values overlap")
    if not {one.name for one in found} - {BACKGROUND, VOID}:
        raise ValueError("no value is foreground")
    return tuple(found)
