"""Claims on learnt features and operations: Table 4 and Figure C2."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from naslora.core.wording import counted
from naslora.data.benchmarks.contract import get_benchmark
from naslora.paper.published import columns, rows
from naslora.report.claims.claim import Claim, Judgement, value
from naslora.report.claims.comparison import judge
from naslora.report.claims.evidence import Evidence, PairedDifference, repeats_text
from naslora.report.tables.model import Column, Row
from naslora.report.tables.table4 import RANDOM_VIT_H, table4
from naslora.results.shares import read_shares

_SEARCHED = "nas_pc_lora"
# Families of two operations each; with equal shares, each family has a quarter.
_FAMILIES = {
    "separable convolutions": ("sep_conv_3x3", "sep_conv_5x5"),
    "dilated convolutions": ("dil_conv_3x3", "dil_conv_5x5"),
    "pooling": ("avg_pool_3x3", "max_pool_3x3"),
    "skip and no connection": ("skip", "zero"),
}
_FAVOURED = {
    "leaf": ("separable convolutions",),
    "trans10k_v2": ("separable convolutions", "dilated convolutions"),
}


def inductive_bias(evidence: Evidence) -> Claim:
    """The text on Table 4."""
    falls, climbs = (
        [[value("4", row, c) for row in rows("4")] for c in columns("4") if c.startswith(kind)]
        for kind in ("attention", "log")
    )
    holds = all(_rises(scores[::-1]) for scores in falls) and all(map(_rises, climbs))
    measured, ours = _table4_here(evidence)
    return Claim(
        key="inductive_bias",
        text="From a random ViT to SAM to NAS-LoRA, attention becomes more local, and features "
        "have more of the high frequencies.",
        source="Section 4.2; Table 4",
        arithmetic=(
            "Attention distances fall and log amplitudes rise from row to row in every column."
            if holds
            else "Not every column is monotone.",
            "A random ViT attends to all patches alike. On 14 x 14 patches of 16 px that is "
            f"{_uniform_distance(14, 16):.1f} px, near the printed 114, 117 and 115; on the 64 x "
            f"64 patches of SAM's global blocks it is {_uniform_distance(64, 16):.0f} px. 14 x 14 "
            "patches are a window of SAM at 1024 px, or a whole image at 224 px: the paper does "
            f"not say which. {RANDOM_VIT_H}",
            "At 1024 px, layers 10, 15 and 20 have windows if they are counted from 1; counted "
            "from 0, layer 15 is global. Distances within windows of 224 px say nothing of "
            "attention across an image, which is that of the four global blocks.",
            "The paper gives no spread over its 100 images.",
        ),
        paper=Judgement.HOLDS if holds else Judgement.CONTRADICTED,
        measured=measured,
        ours=ours,
    )


def preferences(evidence: Evidence) -> Claim:
    """The text on Figure C2."""
    lines, differences = [], []
    for task, favoured in _FAVOURED.items():
        shares = _family_shares(evidence, task)
        if shares is None:
            continue
        seeds = len(next(iter(shares.values())))
        means = (f"{name} {np.mean(values):.2f} %" for name, values in shares.items())
        lines.append(
            f"{get_benchmark(task).title}: {', '.join(means)} (softmax of alpha, mean over cells, "
            f"n = {counted(seeds, 'seed')}; 25 % each before the search)."
        )
        differences += [
            PairedDifference(tuple(a - b for a, b in zip(shares[high], shares[low], strict=True)))
            for high in favoured
            for low in _FAMILIES
            if low not in favoured
        ]
    whole = len(lines) == len(_FAVOURED)
    return Claim(
        key="preferences",
        text="Leaf prefers separable convolutions; transparent objects, dilated and separable "
        "ones.",
        source="Appendix C; Figure C2",
        arithmetic=(
            "The figure's shares are printed nowhere as numbers. By the formula beside it they "
            "are means of alpha itself, which starts near 0 and has either sign; shares need the "
            "softmax of it.",
        ),
        paper=Judgement.OPEN,
        measured=tuple(lines),
        ours=judge(differences, len(differences)) if whole else Judgement.NOT_MEASURED,
    )


def _table4_here(evidence: Evidence) -> tuple[tuple[str, ...], Judgement]:
    """Each step from row to row, over the images that both rows were measured on."""
    table = table4(evidence.study)
    first = table.rows[: len(rows("4"))]
    lines, signs = [], []
    for index, column in enumerate(table.columns):
        steps = [_step(a, b, index, column) for a, b in pairwise(first)]
        there = [step for step in steps if step is not None]
        if len(there) < len(steps):
            continue
        means = " -> ".join(f"{row.cells[index].value:.{column.decimals}f}" for row in first)
        sign = 1 if column.higher_is_better else -1
        changes = ", ".join(
            PairedDifference(tuple(sign * v for v in step.values)).text for step in there
        )
        lines.append(f"{column.title}: {means}; steps {changes} ({_images(there)}).")
        signs += [step.significant_sign() for step in there]
    if not signs:
        return (), Judgement.NOT_MEASURED
    note = (
        "The intervals are over images, of one run and one random initialisation: they do not say "
        "how runs differ."
    )
    if signs.count(1) == len(signs):
        ours = Judgement.HOLDS
    elif -1 not in signs:
        ours = Judgement.OPEN
    else:
        ours = Judgement.PARTLY if 1 in signs else Judgement.CONTRADICTED
    return (*lines, note), ours


def _step(before: Row, after: Row, index: int, column: Column) -> PairedDifference | None:
    one, other = after.cells[index].values, before.cells[index].values
    if not one or len(one) != len(other):
        return None
    sign = 1 if column.higher_is_better else -1
    return PairedDifference(tuple(sign * (a - b) for a, b in zip(one, other, strict=True)))


def _images(differences: Sequence[PairedDifference]) -> str:
    return repeats_text((difference.n for difference in differences), "image")


def _family_shares(evidence: Evidence, task: str) -> dict[str, list[float]] | None:
    """Percent of each family of operations, by seed; None without runs of the whole cell."""
    if task not in evidence.study.tasks:
        return None
    shares = read_shares(evidence.study, evidence.records, task, _SEARCHED)
    names = [name for family in _FAMILIES.values() for name in family]
    if shares is None or not set(names) <= set(shares.operations):
        return None
    by_seed = 100 * shares.values.mean(axis=1)
    places = {name: shares.operations.index(name) for name in names}
    return {
        family: by_seed[:, [places[name] for name in members]].sum(axis=1).tolist()
        for family, members in _FAMILIES.items()
    }


def _rises(scores: Sequence[float]) -> bool:
    return all(a < b for a, b in pairwise(scores))


def _uniform_distance(side: int, patch: int) -> float:
    """Mean distance (px) between two patches drawn from a square grid, each pair alike."""
    steps = np.abs(np.arange(side)[:, None] - np.arange(side))
    gaps, counts = np.unique(steps, return_counts=True)
    distances = np.hypot(gaps[:, None], gaps)
    return float(patch * (distances * np.outer(counts, counts)).sum() / side**4)


CLAIMS = (inductive_bias, preferences)
