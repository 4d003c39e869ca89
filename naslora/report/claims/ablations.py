"""Claims on the ablations: Tables 6 to 9 and D1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from naslora.paper.published import columns, rows
from naslora.report.claims.claim import Claim, Judgement, value
from naslora.report.claims.comparison import judge
from naslora.report.claims.evidence import (
    Evidence,
    difference_text,
    repeats_text,
)
from naslora.report.tables import ablations as tables
from naslora.report.tables.model import Column, TableSpec
from naslora.results.difference import Difference

_OWN = "nas_pc_lora"
_NO_SPREAD = "The paper prints no spread over its seeds, so nothing tells these from chance."


def operations(evidence: Evidence) -> Claim:
    """The text on Table 6, and its printed differences."""
    whole = [value("6", "NAS-PC-LoRA", column) for column in columns("6")]
    drops = {
        row: [round(a - value("6", row, c), 4) for a, c in zip(whole, columns("6"), strict=True)]
        for row in rows("6")[1:]
    }
    order = sorted(drops, key=lambda row: -sum(drops[row]))
    scored = tables.TABLE6.columns
    without = {
        "no_convolution": "Without convolution",
        "no_skip_zero": "Without skip and no connection",
        "no_pooling": "Without pooling",
    }
    lines, _ = _against(evidence, scored, {name: (name, _OWN) for name in without}, without)
    steps = [
        evidence.mean_difference(scored, less, more)
        for more, less in pairwise(without)  # what costs more is the worse of the two
    ]
    found = [step for step in steps if step is not None]
    if len(found) == len(steps):
        lines += (
            f"On average over the columns, convolutions give {difference_text(found[0])} points "
            f"more than skip and no connection, and these {difference_text(found[1])} more than "
            "pooling.",
        )
    return Claim(
        key="operations",
        text="Convolutions contribute most, then skip and no connection, then pooling.",
        source="Section 4.3; Table 6",
        arithmetic=(
            *(
                f"{row.capitalize()}: {', '.join(f'-{drop:.1f}' for drop in drops[row])} points "
                "(Jac, T-Jac, Dice, Acc)."
                for row in order
            ),
            f"These are the differences that the table prints. {_NO_SPREAD}",
        ),
        paper=Judgement.HOLDS
        if [row.split()[1] for row in order] == ["convolution", "skip", "pooling"]
        else Judgement.CONTRADICTED,
        measured=lines,
        ours=_judged(steps),
    )


def rank(evidence: Evidence) -> Claim:
    """The text on Table 7."""
    parts, steps, rising = [], [], []
    for column in ("trans10k_v2_Acc", "trans10k_v2_mIoU"):
        scores = [value("7", row, column) for row in rows("7")]
        steps += [b - a for a, b in pairwise(scores[1:])]
        rising.append(all(a < b for a, b in pairwise(scores)))
        name = column.removeprefix("trans10k_v2_")
        text = " -> ".join(map(str, scores))
        parts.append(f"{name}: {text}, {'rising' if rising[-1] else 'not rising throughout'}.")
    measured, ours = _ranks_here(evidence)
    return Claim(
        key="rank",
        text="Performance increases with the rank.",
        source="Section 4.3; Table 7",
        arithmetic=(
            *parts,
            f"From rank 6 on no step exceeds {max(steps):.2f} points. {_NO_SPREAD}",
        ),
        paper=Judgement.HOLDS if all(rising) else Judgement.PARTLY,
        measured=measured,
        ours=ours,
    )


def place(evidence: Evidence) -> Claim:
    """The text on Table 8's scores."""
    scores = {row: [value("8", row, c) for c in _scored("8")] for row in rows("8")}
    first, last, whole = scores.values()
    holds = all(a < b < c for a, b, c in zip(first, last, whole, strict=True))
    lines, found = _against(
        evidence,
        tables.TABLE8.columns,
        {
            "all": (_OWN, "layers_first_half"),
            "best": (_OWN, "layers_last_half"),
            "last": ("layers_last_half", "layers_first_half"),
        },
        {
            "all": "All layers against the first half",
            "best": "All layers against the last half",
            "last": "The last half against the first",
        },
    )
    return Claim(
        key="place",
        text="Cells in all layers are best, and those in the last half better than in the first.",
        source="Section 4.3; Table 8",
        arithmetic=(
            f"All layers against the last half: {_gaps(whole, last)} points (IoU, Dice, Acc); the "
            f"last half against the first: {_gaps(last, first)}. {_NO_SPREAD}",
        ),
        paper=Judgement.HOLDS if holds else Judgement.CONTRADICTED,
        measured=lines,
        ours=_judged(found),
    )


def simultaneous(evidence: Evidence) -> Claim:
    """The text on Table 9."""
    together, apart, late = (
        [value("9", row, column) for column in columns("9")]
        for row in ("0 / simultaneous", "0 / stage-wise", "10 / stage-wise")
    )
    task = tables.TABLE9.columns[0].task
    start = evidence.study.training_of(task).architecture.start_epoch
    lines, found = _against(
        evidence,
        tables.TABLE9.columns,
        {
            "own": (_OWN, "alpha_simultaneous"),
            "start": ("alpha_from_start", "alpha_simultaneous"),
        },
        {
            "own": f"Stage-wise with T_B = {start} against simultaneous",
            "start": "Stage-wise from the start against simultaneous",
        },
    )
    return Claim(
        key="simultaneous",
        text="Training w and alpha at once degrades performance significantly.",
        source="Section 4.3; Table 9",
        arithmetic=(
            f"Against T_B = 10: {_gaps(together, late)} points (Jac, T-Jac, Dice, Acc); against "
            f"stage-wise steps from the start: {_gaps(together, apart)}.",
            "Significance needs a spread over seeds, and none is printed.",
        ),
        paper=Judgement.OPEN,
        measured=lines,
        ours=_judged(found),
    )


def channels(evidence: Evidence) -> Claim:
    """The text on Table D1's scores."""
    scores = {row: [value("D1", row, c) for c in _scored("D1")] for row in rows("D1")}
    full, two, one = scores.values()
    holds = all(b > max(a, c) for a, b, c in zip(full, two, one, strict=True))
    lines, found = _against(
        evidence,
        tables.TABLE_D1.columns,
        {"full": (_OWN, "nas_lora"), "one": (_OWN, "channels_1_of_3")},
        {"full": "2/3 against 3/3 of the channels", "one": "2/3 against 1/3"},
    )
    return Claim(
        key="channels",
        text="Sampling 2/3 of the channels is best: fewer or more degrade performance.",
        source="Appendix D; Table D1",
        arithmetic=(
            f"2/3 against 3/3: {_gaps(two, full)} points (IoU, Dice, Acc); against 1/3: "
            f"{_gaps(two, one)}. {_NO_SPREAD}",
        ),
        paper=Judgement.HOLDS if holds else Judgement.CONTRADICTED,
        measured=lines,
        ours=_judged(found),
    )


def _against(
    evidence: Evidence,
    scored: Sequence[Column],
    pairs: Mapping[str, tuple[str, str]],
    titles: Mapping[str, str],
) -> tuple[tuple[str, ...], list[Difference | None]]:
    """One run against another, for several pairs: a sentence each, and means over columns."""
    lines, found = [], []
    for key, (one, other) in pairs.items():
        difference = evidence.mean_difference(scored, one, other)
        found.append(difference)
        if difference is None:
            continue
        parts = [
            f"{column.title} {difference_text(part)}"
            for column in scored
            if (part := evidence.difference(column, one, other)) is not None
        ]
        lines.append(
            f"{titles[key]}: {', '.join(parts)} points; mean of these "
            f"{difference_text(difference)} ({repeats_text([difference.seeds])})."
        )
    return tuple(lines), found


def _ranks_here(evidence: Evidence) -> tuple[tuple[str, ...], Judgement]:
    """Each step to a higher rank, in accuracy and in mIoU over 12 classes."""
    spec: TableSpec = tables.TABLE7
    variants = [row.variant for row in spec.rows_of(evidence.study)]
    lines, judgements = [], []
    for column in spec.columns[:2]:
        steps = [evidence.difference(column, b, a) for a, b in pairwise(variants)]
        found = [step for step in steps if step is not None]
        if len(found) < len(rows("7")) - 1:
            continue
        means = [f"{evidence.mean(column, name):.{column.decimals}f}" for name in variants]
        lines.append(
            f"{column.title}: {' -> '.join(means)}; steps {', '.join(map(difference_text, found))} "
            f"({repeats_text(step.seeds for step in found)})."
        )
        judgements.append(judge(found, len(found)))
    if not judgements:
        return (), Judgement.NOT_MEASURED
    both = set(judgements)
    if both == {Judgement.HOLDS, Judgement.CONTRADICTED}:
        return tuple(lines), Judgement.PARTLY
    return tuple(lines), both.pop() if len(both) == 1 else Judgement.OPEN


def _judged(found: Sequence[Difference | None]) -> Judgement:
    """Judge the claim that all of these are positive; not measured where one is missing."""
    there = [difference for difference in found if difference is not None]
    return judge(there, len(there)) if len(there) == len(found) else Judgement.NOT_MEASURED


def _scored(table: str) -> list[str]:
    return [column for column in columns(table) if column not in ("params_m", "ratio_pct")]


def _gaps(ours: Sequence[float], theirs: Sequence[float]) -> str:
    return ", ".join(f"{a - b:+.1f}" for a, b in zip(ours, theirs, strict=True))


CLAIMS = (operations, rank, place, simultaneous, channels)
