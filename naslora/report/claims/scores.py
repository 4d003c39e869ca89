"""Claims on scores: Tables 1, 2, 3 and what the text makes of them."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable

from naslora.report import table1
from naslora.report.claims.claim import Claim, Judgement, value
from naslora.report.claims.evidence import Evidence
from naslora.report.published import METHOD_ROWS, columns, printed, rows
from naslora.report.tables import Column

_NAS = ("nas_lora", "nas_pc_lora")
_CITED = ("Translab", "Trans2Seg")
_CLASSES = 12


def partial_connection(evidence: Evidence) -> Claim:
    """NAS-PC-LoRA against NAS-LoRA on Table 1."""
    names = [METHOD_ROWS[name] for name in _NAS]
    wins = defaultdict(list)
    gaps = []
    for column in table1.COLUMNS:
        full, partial = (value("1", name, column.key) for name in names)
        gap = (partial - full) * (1 if column.higher_is_better else -1)
        gaps.append(abs(gap))
        wins[column.task].append(gap > 0)
    won = sum(sum(task) for task in wins.values())
    whole = sum(all(task) for task in wins.values())
    lost = [task for task, columns_ in wins.items() if not any(columns_)]
    measured, ours = _compare(evidence, "nas_pc_lora", "nas_lora")
    return Claim(
        key="partial_connection",
        text="NAS-PC-LoRA is consistently better than NAS-LoRA on most data sets.",
        source="Section 4.2; Table 1",
        arithmetic=(
            f"Table 1: better in {won} of {len(gaps)} columns, in every column of {whole} of "
            f"{len(wins)} data sets, in none of {', '.join(lost)}.",
            f"The gap is {statistics.median(gaps):.1f} points in the median and {max(gaps):.1f} at "
            "most. The paper gives no spread over its three seeds, so nothing tells these gaps "
            "from chance.",
        ),
        paper=Judgement.HOLDS if whole > len(wins) / 2 else Judgement.CONTRADICTED,
        measured=measured,
        ours=ours,
    )


def best_of_all(evidence: Evidence) -> Claim:
    """NAS-LoRA and NAS-PC-LoRA against all others on Table 1."""
    nas = [METHOD_ROWS[name] for name in _NAS]
    others = [row for row in rows("1") if row not in nas]
    beaten: list[str] = []
    by_domain: list[str] = []
    for column in table1.COLUMNS:
        ours = _best(column, {row: value("1", row, column.key) for row in nas})
        best = _best(column, {row: value("1", row, column.key) for row in others})
        if best[1] == ours[1] or _better(column, ours[1], best[1]):
            continue
        text = f"{column.title} ({best[0]} {best[1]}, {ours[0]} {ours[1]})"
        (by_domain if best[0] == "Domain Specific" else beaten).append(text)
    ahead = len(table1.COLUMNS) - len(beaten) - len(by_domain)
    measured, judgement = _first(evidence)
    return Claim(
        key="best_of_all",
        text="NAS-LoRA and NAS-PC-LoRA outperform the baselines on most data sets.",
        source="Abstract; Section 4.2; Table 1",
        arithmetic=(
            f"The better of the two leads {ahead} of {len(table1.COLUMNS)} columns of Table 1.",
            f"Domain-specific networks stay ahead in {'; '.join(by_domain) or 'none'}; another "
            f"adapted SAM in {'; '.join(beaten) or 'none'}.",
            "Taking the better of two gives our methods two draws against one of each baseline.",
        ),
        paper=Judgement.HOLDS if ahead > len(table1.COLUMNS) / 2 else Judgement.CONTRADICTED,
        measured=measured,
        ours=judgement,
    )


def two_mious(evidence: Evidence) -> Claim:
    """Table 3's mIoU."""
    del evidence
    classes = columns("3")[2 : 2 + _CLASSES]
    kinds: dict[str, list[str]] = defaultdict(list)
    means: dict[str, tuple[float, float]] = {}
    for row in rows("3"):
        ious = [value("3", row, name) for name in classes]
        with_, without = statistics.fmean(ious), statistics.fmean(ious[1:])
        means[row] = (with_, without)
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
        text="The mIoU of Table 3 ranks the methods.",
        source="Table 3",
        arithmetic=(
            *(f"Mean {kind}: {', '.join(found)}." for kind, found in kinds.items()),
            f"Over the same 12 classes, {best} is first with {means[best][0]:.2f}, and {first} "
            f"has {means[first][0]:.2f}.",
        ),
        paper=Judgement.CONTRADICTED if len(kinds) > 1 else Judgement.HOLDS,
    )


def nine_categories(evidence: Evidence) -> Claim:
    """The text on Table 3."""
    del evidence
    nas = [METHOD_ROWS[name] for name in _NAS]
    peft = [row for row in rows("3") if row not in _CITED]
    classes = columns("3")[2 : 2 + _CLASSES]
    won = [c for c in classes if max(peft, key=lambda row: value("3", row, c)) in nas]
    each = [sum(max(peft, key=lambda r: value("3", r, c)) == row for c in classes) for row in nas]
    accuracy = max(rows("3"), key=lambda row: value("3", row, "Acc"))
    return Claim(
        key="nine_categories",
        text="The two lead nine categories among adapted SAMs, and overall accuracy among all.",
        source="Section 4.2; Table 3",
        arithmetic=(
            f"Together they lead {len(won)} of {len(classes)} classes, background among them "
            f"({', '.join(f'{row} {n}' for row, n in zip(nas, each, strict=True))}).",
            f"Accuracy: {accuracy} is first.",
        ),
        paper=Judgement.HOLDS if len(won) >= 9 and accuracy in nas else Judgement.CONTRADICTED,
    )


def dice_and_iou(evidence: Evidence) -> Claim:
    """A law between two columns."""
    del evidence
    pairs = {"isic2017_Jac": "isic2017_Dice", "leaf_IoU": "leaf_Dice", "road_IoU": "road_Dice"}
    checked, off = 0, []
    for table in ("1", "6", "8", "9", "D1"):
        for row in rows(table):
            for iou_column, dice_column in pairs.items():
                if iou_column not in columns(table) or not printed(table, row, iou_column):
                    continue
                checked += 1
                iou, dice = (value(table, row, c) / 100 for c in (iou_column, dice_column))
                top = iou + 0.0005
                if not iou - 0.001 <= dice <= 2 * top / (1 + top) + 0.0005:
                    off.append(f"Table {table}, {row}")
    return Claim(
        key="dice_and_iou",
        text="IoU (Jac) and Dice are means over the same images.",
        source="Tables 1, 6, 8, 9 and D1",
        arithmetic=(
            "Per image Dice = 2 IoU / (1 + IoU), which is concave: the mean Dice lies between the "
            "mean IoU and 2 m / (1 + m) of that mean m.",
            f"{checked - len(off)} of {checked} printed pairs do"
            + (f"; not {'; '.join(off)}." if off else "."),
        ),
        paper=Judgement.PARTLY if off else Judgement.HOLDS,
    )


def _better(column: Column, ours: float, theirs: float) -> bool:
    return ours > theirs if column.higher_is_better else ours < theirs


def _best(column: Column, found: dict[str, float]) -> tuple[str, float]:
    pick = max if column.higher_is_better else min
    row = pick(found, key=lambda name: found[name])
    return row, found[row]


def _compare(evidence: Evidence, one: str, other: str) -> tuple[tuple[str, ...], Judgement]:
    """How often the mean of one method is better than another's, in this study."""
    won: list[Column] = []
    seen: list[Column] = []
    for column in table1.COLUMNS:
        ours, theirs = evidence.mean(column, one), evidence.mean(column, other)
        if ours is None or theirs is None:
            continue
        seen.append(column)
        won += [column] if _better(column, ours, theirs) else []
    if not seen:
        return (), Judgement.NOT_MEASURED
    line = f"Better in {len(won)} of {len(seen)} columns ({_tasks(won)})."
    return (line,), _majority(len(won), len(seen))


def _first(evidence: Evidence) -> tuple[tuple[str, ...], Judgement]:
    """How often one of the two NAS methods has the best mean, in this study."""
    won, seen = [], 0
    others = [name for name in evidence.study.methods if name not in _NAS]
    for column in table1.COLUMNS:
        nas = [m for name in _NAS if (m := evidence.mean(column, name)) is not None]
        rest = [m for name in others if (m := evidence.mean(column, name)) is not None]
        if not nas or not rest:
            continue
        seen += 1
        pick = max if column.higher_is_better else min
        won += [column] if _better(column, pick(nas), pick(rest)) else []
    if not seen:
        return (), Judgement.NOT_MEASURED
    line = f"The better of the two leads {len(won)} of {seen} columns ({_tasks(won)})."
    return (line,), _majority(len(won), seen)


def _tasks(won: Iterable[Column]) -> str:
    return ", ".join(column.title for column in won) or "none"


def _majority(won: int, seen: int) -> Judgement:
    return Judgement.HOLDS if won > seen / 2 else Judgement.CONTRADICTED


CLAIMS = (best_of_all, partial_connection, two_mious, nine_categories, dice_and_iou)
