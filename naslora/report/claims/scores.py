"""Claims on the scores of the binary tasks: Table 1, and a relation between its columns."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence

from naslora.data.benchmarks.contract import get_benchmark
from naslora.paper.published import METHOD_ROWS, NAS_METHODS, NOT_PEFT, columns, printed, rows
from naslora.report.claims.claim import Claim, Judgement, value
from naslora.report.claims.comparison import against_baselines, compare, most
from naslora.report.claims.evidence import Evidence
from naslora.report.tables import table1
from naslora.report.tables.model import Column

_COLUMNS = table1.PAPER_COLUMNS
_ROWS = tuple(METHOD_ROWS[name] for name in NAS_METHODS)
_DOMAIN_SPECIFIC = "Domain Specific"


def best_of_all(evidence: Evidence) -> Claim:
    """NAS-LoRA and NAS-PC-LoRA against all others on Table 1."""
    others = [row for row in rows("1") if row not in _ROWS]
    beaten: list[str] = []
    by_domain: list[str] = []
    for column in _COLUMNS:
        ours = _best(column, _ROWS)
        best = _best(column, others)
        if _better(column, ours, best):
            continue
        scores = f"{best} {_number(column, best)}, {ours} {_number(column, ours)}"
        text = f"{column.printed_title} ({scores})"
        (by_domain if best == _DOMAIN_SPECIFIC else beaten).append(text)
    ahead = len(_COLUMNS) - len(beaten) - len(by_domain)
    found = against_baselines(evidence, _COLUMNS)
    return Claim(
        key="best_of_all",
        text="NAS-LoRA and NAS-PC-LoRA outperform the baselines on most data sets.",
        source="Abstract; Section 4.2; Table 1",
        arithmetic=(
            f"The better of the two leads {ahead} of {len(_COLUMNS)} columns of Table 1.",
            f"Domain-specific networks stay ahead in {'; '.join(by_domain) or 'none'}; another "
            f"adapted SAM in {'; '.join(beaten) or 'none'}.",
            "Taking the better of two gives the new methods two draws against one of each "
            f"baseline. Among adapted SAMs, {_alone()}.",
            "Section 4.1 and Appendix B name COD10K and CHAMELEON as test sets. Their scores are "
            "printed nowhere.",
        ),
        paper=Judgement.HOLDS if ahead >= most(len(_COLUMNS)) else Judgement.CONTRADICTED,
        measured=found.lines(evidence) if found else (),
        ours=found.judgement(most(len(found.columns))) if found else Judgement.NOT_MEASURED,
    )


def partial_connection(evidence: Evidence) -> Claim:
    """NAS-PC-LoRA against NAS-LoRA on Table 1."""
    wins: dict[str, list[bool]] = defaultdict(list)
    gaps = []
    for column in _COLUMNS:
        full, partial = (_number(column, row) for row in _ROWS)
        gap = (partial - full) * (1 if column.higher_is_better else -1)
        gaps.append(abs(gap))
        wins[column.task].append(gap > 0)
    won = sum(sum(task) for task in wins.values())
    whole = sum(all(task) for task in wins.values())
    lost = [get_benchmark(task).title for task, won_ in wins.items() if not any(won_)]
    found = compare(evidence, _COLUMNS, "nas_pc_lora", "nas_lora")
    return Claim(
        key="partial_connection",
        text="NAS-PC-LoRA is consistently better than NAS-LoRA on most data sets.",
        source="Section 4.2; Table 1",
        arithmetic=(
            f"Table 1: better in {won} of {len(gaps)} columns, in every column of {whole} of "
            f"{len(wins)} data sets, in none of {', '.join(lost)}.",
            f"The two are {statistics.median(gaps):.1f} points apart in the median, and "
            f"{max(gaps):.1f} at most. The paper gives no spread over its three seeds, so nothing "
            "tells these gaps from chance.",
        ),
        paper=Judgement.HOLDS if whole >= most(len(wins)) else Judgement.CONTRADICTED,
        measured=(found.line("NAS-PC-LoRA"), found.sizes()) if found else (),
        ours=found.judgement(most(len(found.columns))) if found else Judgement.NOT_MEASURED,
    )


def dice_and_iou(evidence: Evidence) -> Claim:
    """The relation between Dice and IoU."""
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
        ours=Judgement.PRINT_ALONE,
    )


def _alone() -> str:
    """How many columns each of the two leads without the other."""
    others = [row for name, row in METHOD_ROWS.items() if name not in (*NAS_METHODS, *NOT_PEFT)]
    parts = []
    for row in _ROWS:
        behind = [c for c in _COLUMNS if not _better(c, row, _best(c, others))]
        ahead = len(_COLUMNS) - len(behind)
        by = dict.fromkeys(_best(column, others) for column in behind)
        parts.append(
            f"{row} alone leads {ahead} columns"
            + (
                f" and is behind {' or '.join(by)} in {', '.join(c.printed_title for c in behind)}"
                if behind
                else ""
            )
        )
    return "; ".join(parts)


def _number(column: Column, row: str) -> float:
    return value("1", row, column.key)


def _better(column: Column, ours: str, theirs: str) -> bool:
    gap = _number(column, ours) - _number(column, theirs)
    return gap > 0 if column.higher_is_better else gap < 0


def _best(column: Column, found: Sequence[str]) -> str:
    pick = max if column.higher_is_better else min
    return pick(found, key=lambda row: _number(column, row))


CLAIMS = (best_of_all, partial_connection, dice_and_iou)
