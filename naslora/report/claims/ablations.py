"""Claims on the ablations and the analysis: Tables 4, 6, 7 and 9."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from naslora.report.claims.claim import Claim, Judgement, value
from naslora.report.claims.evidence import Evidence
from naslora.report.published import columns, rows


def rank(evidence: Evidence) -> Claim:
    """The text on Table 7."""
    del evidence
    parts = []
    steps = []
    holds = True
    for column in ("trans10k_v2_Acc", "trans10k_v2_mIoU"):
        scores = [value("7", row, column) for row in rows("7")]
        rises = _rises(scores)
        steps += [b - a for a, b in pairwise(scores[1:])]
        holds &= rises
        name = column.removeprefix("trans10k_v2_")
        text = " -> ".join(map(str, scores))
        parts.append(f"{name}: {text}, {'rising' if rises else 'not rising throughout'}.")
    return Claim(
        key="rank",
        text="Performance increases with the rank.",
        source="Section 4.3; Table 7",
        arithmetic=(
            *parts,
            f"From rank 6 on no step exceeds {max(steps):.2f} points; no spread is printed.",
        ),
        paper=Judgement.HOLDS if holds else Judgement.PARTLY,
    )


def simultaneous(evidence: Evidence) -> Claim:
    """The text on Table 9."""
    del evidence
    together, apart, late = (
        [value("9", row, column) for column in columns("9")]
        for row in ("0 / simultaneous", "0 / stage-wise", "10 / stage-wise")
    )
    return Claim(
        key="simultaneous",
        text="Training w and alpha at once degrades performance significantly.",
        source="Section 4.3; Table 9",
        arithmetic=(
            f"Against T_B = 10: {_gaps(late, together)} points (Jac, T-Jac, Dice, Acc); against "
            f"stage-wise steps from the start: {_gaps(apart, together)}.",
            "Significance needs a spread over seeds, and none is printed.",
        ),
        paper=Judgement.OPEN,
    )


def operations(evidence: Evidence) -> Claim:
    """The text on Table 6, and its printed differences."""
    del evidence
    whole = [value("6", "NAS-PC-LoRA", column) for column in columns("6")]
    drops = {
        row: [round(a - value("6", row, c), 4) for a, c in zip(whole, columns("6"), strict=True)]
        for row in rows("6")[1:]
    }
    order = sorted(drops, key=lambda row: -sum(drops[row]))
    return Claim(
        key="operations",
        text="Convolutions contribute most, then skip and no connection, then pooling.",
        source="Section 4.3; Table 6",
        arithmetic=(
            *(f"{row}: {', '.join(f'-{drop:.1f}' for drop in drops[row])}." for row in order),
            "These are the differences that the table prints.",
        ),
        paper=Judgement.HOLDS
        if [row.split()[1] for row in order] == ["convolution", "skip", "pooling"]
        else Judgement.CONTRADICTED,
    )


def inductive_bias(evidence: Evidence) -> Claim:
    """The text on Table 4."""
    del evidence
    falls = [
        [value("4", row, column) for row in rows("4")]
        for column in columns("4")
        if column.startswith("attention")
    ]
    climbs = [
        [value("4", row, column) for row in rows("4")]
        for column in columns("4")
        if column.startswith("log")
    ]
    holds = all(_rises(scores[::-1]) for scores in falls) and all(map(_rises, climbs))
    return Claim(
        key="inductive_bias",
        text="From a random ViT to SAM to NAS-LoRA, attention grows local and features sharp.",
        source="Section 4.2; Table 4",
        arithmetic=(
            "Attention distances fall and log amplitudes rise from row to row in every column."
            if holds
            else "Not every column is monotone.",
            "A random ViT attends to all patches alike. On 14 x 14 patches of 16 px that is "
            f"{_uniform_distance(14, 16):.1f} px, near the printed 114, 117 and 115, and on the "
            f"64 x 64 patches of SAM's global blocks {_uniform_distance(64, 16):.0f} px. 14 x 14 "
            "patches are a window at 1024 px, or a whole image at 224 px: the paper does not say.",
            "Layers 10, 15 and 20 are windowed only if they count from 1: from 0, the 15th is "
            "global. So the column is of attention within windows, which no adapter can widen.",
        ),
        paper=Judgement.HOLDS if holds else Judgement.CONTRADICTED,
    )


def _rises(scores: Sequence[float]) -> bool:
    return all(a < b for a, b in pairwise(scores))


def _gaps(above: Sequence[float], below: Sequence[float]) -> str:
    return ", ".join(f"{b - a:+.1f}" for a, b in zip(above, below, strict=True))


def _uniform_distance(side: int, patch: int) -> float:
    """Mean distance (px) between two patches drawn from a square grid, each pair alike."""
    steps = np.abs(np.arange(side)[:, None] - np.arange(side))
    gaps, counts = np.unique(steps, return_counts=True)
    distances = np.hypot(gaps[:, None], gaps)
    return float(patch * (distances * np.outer(counts, counts)).sum() / side**4)


CLAIMS = (operations, rank, simultaneous, inductive_bias)
