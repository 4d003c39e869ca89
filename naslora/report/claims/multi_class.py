"""Claims on the scores of Trans10K: Tables 2 and 3 and the text on them."""

from __future__ import annotations

import statistics
from collections import defaultdict

from naslora.paper.published import METHOD_ROWS, NAS_METHODS, NOT_PEFT, columns, rows
from naslora.report.claims.claim import Claim, Judgement, number, value
from naslora.report.claims.comparison import against_baselines, best_against_best
from naslora.report.claims.evidence import Evidence, difference_text, repeats_text
from naslora.report.tables import table2, table3

_ROWS = tuple(METHOD_ROWS[name] for name in NAS_METHODS)
_CITED = table3.TABLE.cited
_CLASSES = tuple(table3.CLASSES)
_LEAD = 9  # classes, as the text counts
_MIOU, _FOREGROUND = (c for c in table3.COLUMNS if c.key in ("mIoU", "mIoU_foreground"))
_ACCURACY = next(c for c in table3.COLUMNS if c.key == "Acc")


def three_classes(evidence: Evidence) -> Claim:
    """The text on Table 2."""
    worse = []
    for column in table2.COLUMNS:
        sign = 1 if column.higher_is_better else -1
        others = {row: value("2", row, column.key) for row in rows("2") if row not in _ROWS}
        best = max(others, key=lambda row: sign * others[row])
        worse += [
            f"{row} against {best} in {column.printed_title}"
            for row in _ROWS
            if sign * value("2", row, column.key) <= sign * others[best]
        ]
    found = against_baselines(evidence, table2.COLUMNS)
    return Claim(
        key="three_classes",
        text="On Trans10K-v1 the two outperform all others on easy and hard images.",
        source="Section 4.2; Table 2",
        arithmetic=(
            f"Both lead all {len(table2.COLUMNS)} columns."
            if not worse
            else f"Not so: {'; '.join(worse)}.",
            "The column heading MBER ↑ is a misprint: less is better, and the ranking has it so.",
        ),
        paper=Judgement.PARTLY if worse else Judgement.HOLDS,
        measured=found.lines(evidence) if found else (),
        ours=found.judgement(len(found.columns)) if found else Judgement.NOT_MEASURED,
    )


def two_mious(evidence: Evidence) -> Claim:
    """Table 3's mIoU."""
    kinds: dict[str, list[str]] = defaultdict(list)
    means = _means()
    for row, (with_, without) in means.items():
        shown = value("3", row, "mIoU")
        # Twelve rounded numbers: their mean is as exact as they are.
        kind = (
            "over 12 classes"
            if abs(with_ - shown) < 0.011
            else "over 11, without background"
            if abs(without - shown) < 0.011
            else "neither"
        )
        suffix = f" ({with_:.2f} and {without:.2f}; printed {shown})" if kind == "neither" else ""
        kinds[kind].append(row + suffix)
    best = max(means, key=lambda row: means[row][0])
    first = max((row for row in means if row not in _CITED), key=lambda row: means[row][0])
    return Claim(
        key="two_mious",
        text="The mIoU of Table 3 is one measure, by which its methods can be ranked.",
        source="Table 3",
        arithmetic=(
            *(
                f"{'Mean ' + kind if kind != 'neither' else 'Neither of the two'}: "
                f"{', '.join(found)}."
                for kind, found in kinds.items()
            ),
            f"Over the same 12 classes, {best} is first with {means[best][0]:.2f}, and {first} "
            f"has {means[first][0]:.2f}.",
        ),
        paper=Judgement.CONTRADICTED if len(kinds) > 1 else Judgement.HOLDS,
        measured=_definitions_here(evidence),
        ours=Judgement.PRINT_ALONE,
    )


def below_networks(evidence: Evidence) -> Claim:
    """The text on Table 3 and its cited networks."""
    del evidence
    means = _means()
    peft = [row for row in rows("3") if row not in (*_CITED, *_ROWS)]
    shown = max(peft, key=lambda row: value("3", row, "mIoU"))
    ahead = {cited: [row for row in peft if means[row][0] > means[cited][0]] for cited in _CITED}
    return Claim(
        key="below_networks",
        text="Earlier adapted SAMs stay below Translab and Trans2Seg in mIoU.",
        source="Section 4.2; Table 3",
        arithmetic=(
            f"As printed: {shown}, the best of them, has {number('3', shown, 'mIoU').text}; "
            + " and ".join(f"{row} {number('3', row, 'mIoU').text}" for row in _CITED)
            + ". But these two are means over 12 classes, and that one is over 11.",
            "Over the same 12, "
            + "; ".join(
                f"ahead of {cited} ({means[cited][0]:.2f}): "
                + (", ".join(f"{row} ({means[row][0]:.2f})" for row in found) or "none")
                for cited, found in ahead.items()
            )
            + ".",
        ),
        paper=Judgement.PARTLY if any(ahead.values()) else Judgement.HOLDS,
        ours=Judgement.PRINT_ALONE,
    )


def nine_categories(evidence: Evidence) -> Claim:
    """The text on Table 3."""
    peft = [row for row in rows("3") if row not in _CITED]
    won = [c for c in _CLASSES if max(peft, key=lambda row: value("3", row, c)) in _ROWS]
    each = [
        sum(max(peft, key=lambda r: value("3", r, c)) == row for c in _CLASSES) for row in _ROWS
    ]
    accuracy = max(rows("3"), key=lambda row: value("3", row, "Acc"))
    measured, ours = _categories_here(evidence)
    return Claim(
        key="nine_categories",
        text="The two lead nine categories among adapted SAMs, and overall accuracy among all.",
        source="Section 4.2; Table 3",
        arithmetic=(
            f"Together they lead {len(won)} of {len(_CLASSES)} classes, background among them "
            f"({', '.join(f'{row} {n}' for row, n in zip(_ROWS, each, strict=True))}).",
            f"Accuracy: {accuracy} is first.",
        ),
        paper=Judgement.HOLDS
        if len(won) >= _LEAD and accuracy in _ROWS
        else Judgement.CONTRADICTED,
        measured=measured,
        ours=ours,
    )


def _means() -> dict[str, tuple[float, float]]:
    """For each row of Table 3, the mean IoU over 12 classes, and over 11 without background."""
    found = {}
    for row in rows("3"):
        ious = [value("3", row, name) for name in columns("3") if name in _CLASSES]
        found[row] = statistics.fmean(ious), statistics.fmean(ious[1:])
    return found


def _definitions_here(evidence: Evidence) -> tuple[str, ...]:
    """The effect of the definition of mIoU, beside the difference of the two best methods."""
    shifts, means = [], []
    for name in evidence.study.methods:
        all_, foreground = evidence.scores(_MIOU, name), evidence.scores(_FOREGROUND, name)
        if shift := tuple(all_[seed] - foreground[seed] for seed in all_ if seed in foreground):
            shifts.append(shift)
            means.append(statistics.fmean(all_.values()))
    if len(means) < 2:
        return ()
    shift_ = statistics.fmean(one for shift in shifts for one in shift)
    place = "above" if shift_ > 0 else "below"
    best, second = sorted(means, reverse=True)[:2]
    return (
        f"The mean over 12 classes is {abs(shift_):.2f} points {place} that over 11 of the same "
        f"run (mean over {len(shifts)} methods, {repeats_text(map(len, shifts))}); the two best "
        f"methods are {best - second:.2f} points apart. The study's Table 3 has both for every "
        "method.",
    )


def _categories_here(evidence: Evidence) -> tuple[tuple[str, ...], Judgement]:
    classes = [column for column in table3.COLUMNS if column.key in _CLASSES]
    methods = evidence.study.methods
    peft = [name for name in methods if name not in (*NAS_METHODS, *NOT_PEFT)]
    found = best_against_best(evidence, classes, NAS_METHODS, peft)
    rest = [name for name in methods if name not in NAS_METHODS]
    accuracy = best_against_best(evidence, [_ACCURACY], NAS_METHODS, rest)
    if found is None or accuracy is None:
        return (), Judgement.NOT_MEASURED
    leaders = found.leaders(evidence)
    lines = (
        found.line("In the IoU of classes, the better of the two, against the best other method,"),
        *([leaders] if leaders else []),
        "In accuracy it differs from the best of all others by "
        f"{difference_text(accuracy.differences[0])} points.",
    )
    both = {found.judgement(_LEAD), accuracy.judgement(1)}
    if len(both) == 1:
        return lines, both.pop()
    if both == {Judgement.HOLDS, Judgement.CONTRADICTED}:
        return lines, Judgement.PARTLY
    return lines, Judgement.OPEN


CLAIMS = (three_classes, two_mious, below_networks, nine_categories)
