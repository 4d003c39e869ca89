"""The meaning of mask values: from options, from the values themselves, or ambiguous."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from naslora.core.errors import AuditError
from naslora.core.wording import first_of
from naslora.data.masks import IGNORE
from naslora.data.own.options import BACKGROUND, MOST_CLASSES, VOID, OwnOptions
from naslora.data.own.reading import MaskInterpretation, MaskMapping
from naslora.data.own.survey import BRIGHT, DARK, Survey

FOREGROUND = "foreground"
_THRESHOLD = 128
_MOST_COLOURS = 64
# Class indices are small: the largest set in common use, ADE20K's, has 150.
_LARGEST_INDEX = 200
_SOFT_SHARE = 0.8
_SHOWN = 8
_WHAT = {"grey": "grey levels", "index": "palette indices", "colour": "colours"}


def understand(found: Survey, options: OwnOptions, where: Path) -> MaskInterpretation:
    """Decide what mask values mean, from the options or from the values themselves.

    Raises:
        AuditError: they are ambiguous, none is foreground, or options do not fit them; the remedy
            names the options that settle it.
    """
    show = colour if found.kind == "colour" else str
    if options.ignore is not None and found.kind == "colour":
        raise AuditError(
            f"--ignore is for numbers, but the masks hold {_describe(found, show)}",
            where=where,
            remedy="use --mask-values #rrggbb=void,… instead, with the other classes",
        )
    if options.mask_values is not None:
        understood = _from_options(found, options, where, show)
    else:
        understood = _from_values(found, options, where, show)
    if (count := len(understood.classes)) > MOST_CLASSES:
        raise AuditError(f"{count} classes; at most {MOST_CLASSES} are possible", where=where)
    pixels: Counter[int] = Counter()
    for value, count in found.pixels.items():
        pixels[understood.reading.label_of(value)] += count
    if not any(pixels[label] for label in range(1, IGNORE)):
        raise AuditError(
            f"no mask has any foreground: {_describe(found, show)}",
            where=where,
            remedy="check the masks; if one of these values is the foreground, say so: "
            "--mask-values VALUE=NAME",
        )
    if void := pixels[IGNORE]:
        understood.lines.append(
            f"{void / found.total:.1%} of the pixels are void; they count neither in the loss nor "
            "in a metric"
        )
    counted = found.total - pixels[IGNORE]
    names = understood.classes if len(understood.classes) > 1 else ("", *understood.classes)
    shares = (f"{name} {pixels[i] / counted:.1%}" for i, name in enumerate(names) if name)
    understood.lines.append(f"share of the pixels: {', '.join(shares)}")
    return replace(understood, pixels=pixels)


def _from_options(
    found: Survey, options: OwnOptions, where: Path, show: Callable[[int], str]
) -> MaskInterpretation:
    assert options.mask_values is not None
    given = [(r.low, r.high, r.name, r.is_colour) for r in options.mask_values]
    if any(is_colour for *_, is_colour in given) != (found.kind == "colour"):
        raise AuditError(
            f"--mask-values names {'numbers' if found.kind == 'colour' else 'colours'}, but the "
            f"masks hold {_describe(found, show)}",
            where=where,
        )
    if options.ignore is not None:
        given.append((options.ignore, options.ignore, VOID, False))
    names = [name for _, _, name, _ in given if name not in (BACKGROUND, VOID)]
    foreground = tuple(dict.fromkeys(names))
    if options.classes is not None and options.classes not in (
        foreground,
        (BACKGROUND, *foreground),
    ):
        raise AuditError(
            f"--classes names {', '.join(options.classes)}, --mask-values "
            f"{', '.join((BACKGROUND, *foreground))}",
            where=where,
            remedy="leave --classes out",
        )
    label = {BACKGROUND: 0, VOID: IGNORE}
    label |= {name: index for index, name in enumerate(foreground, start=1)}
    ranges = tuple((low, high, label[name]) for low, high, name, _ in given)
    # Where the background is listed, every other value has to be listed too.
    rest = None if BACKGROUND in [name for _, _, name, _ in given] else 0
    unlisted = [v for v in found.pixels if not any(low <= v <= high for low, high, _ in ranges)]
    if unlisted and rest is None:
        raise AuditError(
            f"--mask-values does not list {_shown(sorted(unlisted), show)}",
            where=where,
            remedy="list them; or do not list background, which all other values then are",
        )
    lines = [f"mask values are read as --mask-values says: {_describe(found, show)}"]
    classes = foreground if len(foreground) == 1 else (BACKGROUND, *foreground)
    return MaskInterpretation(MaskMapping(found.kind, ranges, rest), classes, lines)


def _from_values(
    found: Survey, options: OwnOptions, where: Path, show: Callable[[int], str]
) -> MaskInterpretation:
    names = options.classes
    if found.kind == "colour":
        return _colours(found, sorted(found.pixels), names, where)
    values = sorted(value for value in found.pixels if value != options.ignore)
    void = [] if options.ignore is None else [options.ignore]
    many = names is not None and len(names) > 1
    in_order = many and len(values) == len(names or ())
    if found.lossy and not many and _has_soft_edges(found, values):
        return _soft(found, names, void)
    if not void and not in_order and _has_void(found, values, names):
        void, values = [IGNORE], values[:-1]
    if not many and len(values) <= 2:
        return _binary(found, values, names, void)
    if _are_indices(found, values, names):
        return _indices(found, values, names, where, void)
    if not many and _has_soft_edges(found, values):
        return _soft(found, names, void)
    if in_order:
        assert names is not None
        ranges = tuple((value, value, label) for label, value in enumerate(values))
        pairs = ", ".join(f"{v} {name}" for v, name in zip(values, names, strict=True))
        return _interpretation(found, ranges, names, [f"mask values are classes: {pairs}"], void)
    raise _ambiguous(found, values, names, where, show)


def _has_void(found: Survey, values: Sequence[int], names: tuple[str, ...] | None) -> bool:
    """Whether the values are class indices and 255 for void, as in Pascal VOC."""
    return len(values) > 2 and values[-1] == IGNORE and _are_indices(found, values[:-1], names)


def _are_indices(found: Survey, values: Sequence[int], names: tuple[str, ...] | None) -> bool:
    """Whether values are class indices: those of a palette, or small ones with few gaps."""
    if found.lossy or not values:
        return False
    if names is not None and len(names) > 1:
        return values[-1] < len(names)
    if values[-1] > _LARGEST_INDEX:
        return False
    return found.kind == "index" or values[-1] < 2 * len(values)


def _indices(
    found: Survey,
    values: Sequence[int],
    names: tuple[str, ...] | None,
    where: Path,
    void: list[int],
) -> MaskInterpretation:
    what = _WHAT[found.kind]
    highest = values[-1]
    count = highest + 1 if names is None or len(names) == 1 else len(names)
    classes = names or (BACKGROUND, *(f"class_{index}" for index in range(1, count)))
    if len(classes) == 1:  # one name for several indices
        raise AuditError(
            f"--classes names one class, but the masks hold the indices {_shown(values, str)}",
            where=where,
            remedy=f"name {count}, the background first; or say which values are {classes[0]}: "
            f"--mask-values 1-{highest}={classes[0]}",
        )
    absent = sorted(set(range(count)) - set(values))
    line = f"masks hold the {what} {_shown(values, str)}: {count} classes, 0 is the background"
    line += f"; {_shown(absent, str)} do not occur" if absent else ""
    ranges = tuple((value, value, value) for value in range(count))
    return _interpretation(found, ranges, classes, [line], void)


def _binary(
    found: Survey,
    values: Sequence[int],
    names: tuple[str, ...] | None,
    void: list[int],
) -> MaskInterpretation:
    """At most two values: the background is 0 if that is one of them, else the more frequent."""
    classes = names or (FOREGROUND,)
    if len(values) < 2:
        ranges = tuple((value, value, 0) for value in values)
        return _interpretation(found, ranges, classes, [], void)
    low, high = values
    line = f"masks hold the {_WHAT[found.kind]} {low} and {high}: background and {classes[0]}"
    if low != 0:
        low, high = sorted(values, key=lambda value: -found.pixels[value])
        line += f"; {low}, the more frequent, is the background"
    elif high == 1:
        line += "; they look black in most viewers"
    return _interpretation(found, ((low, low, 0), (high, high, 1)), classes, [line], void)


def _has_soft_edges(found: Survey, values: Sequence[int]) -> bool:
    """Whether masks are black and white, with other values only where black and white meet."""
    if found.kind != "grey" or len(values) < 3 or values[0] > DARK or values[-1] < BRIGHT:
        return False
    if values[-1] > IGNORE:
        return False
    if not found.between:  # only values near black and white, as JPEG files have them
        return True
    return len(values) > 4 and found.soft >= _SOFT_SHARE * found.between


def _soft(found: Survey, names: tuple[str, ...] | None, void: list[int]) -> MaskInterpretation:
    grey = sum(n for value, n in found.pixels.items() if value not in (0, IGNORE))
    classes = names or (FOREGROUND,)
    lines = [
        f"masks are black and white with soft edges: {grey / found.total:.1%} of the pixels lie "
        f"between 0 and 255; those of at least {_THRESHOLD} are {classes[0]}"
    ]
    ranges = ((0, _THRESHOLD - 1, 0), (_THRESHOLD, IGNORE, 1))
    return _interpretation(found, ranges, classes, lines, void)


def _colours(
    found: Survey,
    values: Sequence[int],
    names: tuple[str, ...] | None,
    where: Path,
) -> MaskInterpretation:
    """Every colour is a class, and the most frequent one the background."""
    ordered = sorted(values, key=lambda value: -found.pixels[value])
    shown = [f"{colour(v)} ({found.pixels[v] / found.total:.1%})" for v in ordered[:_SHOWN]]
    shares = ", ".join(shown) + (" and others" if len(ordered) > _SHOWN else "")
    if len(values) > _MOST_COLOURS:
        raise AuditError(
            f"masks hold {len(values)} colours; the most frequent are {shares}",
            where=where,
            remedy="name those that are classes: --mask-values #rrggbb=NAME,…; other colours are "
            "then background. Masks saved as JPEG have no exact colours: convert them again",
        )
    background, rest = ordered[0], sorted(ordered[1:])
    if names is not None and (len(rest) > 1 or len(names) > 2):
        raise AuditError(
            f"masks hold the colours {shares}; --classes does not say which class is which",
            where=where,
            remedy="use --mask-values #rrggbb=NAME,… instead",
        )
    classes = names[-1:] if names else (FOREGROUND,)
    if len(rest) > 1:
        classes = (BACKGROUND, *(f"class_{value:06x}" for value in rest))
    lines = [
        f"masks hold {len(values)} colours: {shares}; {colour(background)}, the most frequent, is "
        "the background (to change this: --mask-values #rrggbb=NAME,…)"
    ]
    ranges = ((background, background, 0), *((v, v, i) for i, v in enumerate(rest, start=1)))
    return _interpretation(found, tuple(ranges), classes, lines, [])


def _interpretation(
    found: Survey,
    ranges: tuple[tuple[int, int, int], ...],
    classes: tuple[str, ...],
    lines: list[str],
    void: list[int],
) -> MaskInterpretation:
    lines += [f"the value {value} is void (--ignore {value})" for value in void]
    ranges = (*ranges, *((value, value, IGNORE) for value in void))
    return MaskInterpretation(MaskMapping(found.kind, ranges), classes, lines)


def _ambiguous(
    found: Survey,
    values: Sequence[int],
    names: tuple[str, ...] | None,
    where: Path,
    show: Callable[[int], str],
) -> AuditError:
    if names is not None and len(names) > 1:
        return AuditError(
            f"--classes names {len(names)} classes, but the masks hold {_describe(found, show)}",
            where=where,
            remedy="name as many classes as there are values, the background first; or say what "
            "each value is: --mask-values VALUE=NAME,…",
        )
    count = len(values)
    middle = values[-1] // 2 + 1
    several = ",".join([BACKGROUND, *(f"name{index}" for index in range(1, min(count, 4)))])
    several += ",…" if count > 4 else ""
    return AuditError(
        f"masks are ambiguous: they hold {_describe(found, show)}",
        where=where,
        remedy=f"if they are {count} classes, name them, the background first: --classes {several}"
        f"\n    if they are one class with grey pixels, give its range of values: "
        f"--mask-values {middle}-{values[-1]}={names[0] if names else FOREGROUND}"
        "\n    if one of the values is void, say which: --ignore VALUE",
    )


def _describe(found: Survey, show: Callable[[int], str]) -> str:
    values = sorted(found.pixels)
    if len(values) == 1:
        return f"the value {show(values[0])} alone"
    shares = [f"{show(v)} ({found.pixels[v] / found.total:.1%})" for v in values]
    return f"the {_WHAT[found.kind]} {first_of(shares, _SHOWN)}"


def _shown(values: Sequence[int], show: Callable[[int], str]) -> str:
    more = f" … {show(values[-1])}" if len(values) > _SHOWN else ""
    return ", ".join(show(value) for value in values[:_SHOWN]) + more


def colour(value: int) -> str:
    """A colour as #rrggbb."""
    return f"#{value:06x}"
