"""Claims on numbers of parameters: the columns Params and Ratio of Tables 1, 2, 3, 7, 8 and D1."""

from __future__ import annotations

from functools import cache

from naslora.paper.counts import Count, counted_on_vit_h
from naslora.paper.published import TABLES, Printed, columns, rows
from naslora.report.claims.claim import Claim, Judgement, number, value
from naslora.report.claims.evidence import Evidence
from naslora.report.tables import table1

_TOTAL = "SAM (scratch)"
# Other networks, whose ratio is of themselves.
_OTHERS = ("Translab", "Trans2Seg", "Domain Specific")


_DECODER = "Decoder-only"
_OWN = "nas_pc_lora"
_BINARY = tuple(dict.fromkeys(column.task for column in table1.COLUMNS))
_MULTI = ("trans10k_v1", "trans10k_v2")


@cache
def _counts() -> dict[tuple[str, str], Count]:
    return {(count.table, count.title): count for count in counted_on_vit_h()}


def ratios(evidence: Evidence) -> Claim:
    """Whether the ratio column is the parameter column over SAM's."""
    del evidence
    total, decoder = number("1", _TOTAL, "params_m"), number("1", _DECODER, "params_m")
    off: dict[str, list[str]] = {}
    off_adapted: list[str] = []
    checked = 0
    for table in TABLES:
        if "ratio_pct" not in columns(table):
            continue
        for row in rows(table):
            if row in _OTHERS:
                continue
            checked += 1
            params, ratio = (number(table, row, name) for name in ("params_m", "ratio_pct"))
            if not _follows(params, ratio, total.value):
                share = 100 * params.value / total.value
                text = f"100 x {params.text} / {total.text} = {share:.4f}"
                off.setdefault(text, []).append(f"{_place(table, row)}: {ratio.text}")
            # What is trained beside the decoder was added; fewer than the decoder's were not.
            adapted = total.value + params.value - decoder.value
            if decoder.value <= params.value < total.value and not _follows(params, ratio, adapted):
                off_adapted.append(f"{_place(table, row)} ({100 * params.value / adapted:.2f})")
    lines = [f"{text}, printed otherwise in {'; '.join(where)}." for text, where in off.items()]
    if off:
        lines.append(
            "As shares of the adapted model's total, with what is trained beside the decoder added "
            f"to {total.text}, these follow, but then not "
            f"{' and '.join(off_adapted) or 'none of them'}."
        )
    wrong = sum(len(where) for where in off.values())
    return Claim(
        key="ratios",
        text="The ratio is the share of SAM's 641.09 million parameters.",
        source="Tables 1, 2, 3, 7, 8 and D1",
        arithmetic=(f"{checked - wrong} of {checked} printed ratios follow.", *lines),
        paper=Judgement.PARTLY if off else Judgement.HOLDS,
        ours=Judgement.PRINT_ALONE,
    )


def one_count_for_all_tasks(evidence: Evidence) -> Claim:
    """Tables 1, 2 and 3 print one count, though their tasks have 1, 2 and 11 or more classes."""
    names = [row for row in rows("3") if row not in _OTHERS]
    alike = [
        row
        for row in names
        if len({number(table, row, "params_m").text for table in ("1", "2", "3")}) == 1
    ]
    measured: list[str] = []
    ours = Judgement.NOT_MEASURED
    binary, multi = (
        {
            task: count
            for task in tasks
            if (count := evidence.records.parameters(_OWN, [task], "trainable_parameters"))
        }
        for tasks in (_BINARY, _MULTI)
    )
    counts = set(binary.values())
    if counts and multi:
        measured = [
            f"NAS-PC-LoRA in this study: {' or '.join(f'{n:,}' for n in sorted(counts))} on binary "
            f"tasks, {', '.join(f'{n:,} on {task}' for task, n in multi.items())}."
        ]
        ours = Judgement.HOLDS if counts == set(multi.values()) else Judgement.CONTRADICTED
    return Claim(
        key="one_count_for_all_tasks",
        text="A method trains as many parameters for 12 classes as for one.",
        source="Section 3.3; Tables 1, 2 and 3",
        arithmetic=(
            f"{len(alike)} of {len(names)} methods have one count in all three tables, two of them "
            "to the third decimal of a million.",
            "Section 3.3 gives the decoder a branch of K + 1 classes. With SAM's 256 channels each "
            "class adds 257 parameters to a linear layer alone: 2,570 for ten more classes, which "
            "the third decimal would show. Each mask token adds 256 parameters, and a hypernetwork "
            "of its own, as in SAM's decoder, 139,808: LoRA on ViT-H has 5,260,973 with ten tokens "
            "for 12 classes. If one hypernetwork is shared by all tokens (sam.hypernetworks: "
            "shared, the default), it has 4,002,701, which rounds to the printed 4.00 M.",
        ),
        paper=Judgement.CONTRADICTED if len(alike) == len(names) else Judgement.PARTLY,
        measured=tuple(measured),
        ours=ours,
    )


def half_of_the_layers(evidence: Evidence) -> Claim:
    """Table 8's counts for half of the layers."""
    del evidence
    whole, half = (value("8", row, "params_m") for row in ("1-32", "1-16"))
    ours = _counts()["8", "NAS-PC-LoRA, layers 1-16"].trainable
    decoder = value("1", "Decoder-only", "params_m")
    return Claim(
        key="half_of_the_layers",
        text="With half of the layers adapted, 2.004 million parameters are trained.",
        source="Table 8",
        arithmetic=(
            f"{half} is half of {whole}, which halves the mask decoder too. The decoder alone has "
            f"{decoder} (Table 1), so half of the layers gives "
            f"{decoder} + ({whole} - {decoder}) / 2 = {decoder + (whole - decoder) / 2:.3f}.",
            "The second row's layers begin at 16, where the first row's end: taken literally, one "
            "of them has 17 layers.",
        ),
        paper=Judgement.CONTRADICTED,
        measured=(f"Counted on ViT-H with the default cell: {ours:,}.",),
        ours=Judgement.CONTRADICTED,
    )


def vera_and_mona(evidence: Evidence) -> Claim:
    """The counts of two rows of Table 1."""
    del evidence
    vera, mona = (value("1", row, "params_m") for row in ("VeRA", "Mona"))
    decoder = value("1", "Decoder-only", "params_m")
    counted = {name: _counts()["1", name].trainable for name in ("VeRA", "Mona")}
    return Claim(
        key="vera_and_mona",
        text="VeRA trains 0.32 million parameters, and Mona 17.08 million.",
        source="Table 1",
        arithmetic=(
            f"Every method trains the whole mask decoder, {decoder} million; VeRA's {vera} is less "
            "than that, so it must be without the decoder that all other rows include.",
            f"Mona's {mona} follows from no natural width; the official module of width 64, two a "
            "block, comes to 15.02.",
        ),
        paper=Judgement.CONTRADICTED,
        measured=tuple(f"{name}, counted on ViT-H: {n:,}." for name, n in counted.items()),
        ours=Judgement.CONTRADICTED
        if all(abs(counted[n] / 1e6 - p) > 0.005 for n, p in (("VeRA", vera), ("Mona", mona)))
        else Judgement.PARTLY,
    )


def ranks(evidence: Evidence) -> Claim:
    """Table 7's counts."""
    del evidence
    decoder, per_rank = 3_505_536, 32 * (1280 + 3 * 1280)
    left = [
        f"{value('7', rank, 'params_m') - (decoder + int(rank) * per_rank) / 1e6:.3f} (rank {rank})"
        for rank in rows("7")
    ]
    counted = {
        rank: _counts()["7", f"NAS-PC-LoRA, rank {rank}"].trainable for rank in ("6", "12", "24")
    }
    met = [
        rank for rank, n in counted.items() if abs(n / 1e6 - value("7", rank, "params_m")) <= 0.005
    ]
    return Claim(
        key="ranks",
        text="At ranks 3, 6, 12 and 24, 4.009, 4.50, 5.49 and 7.46 million parameters are trained.",
        source="Table 7",
        arithmetic=(
            f"Without the mask decoder ({decoder:,}) and the low-rank matrices of 32 fused qkv "
            f"({per_rank:,} per rank), the printed millions leave for the cells: "
            f"{', '.join(left)}, each but the first to within 0.005. Their pointwise convolutions "
            "alone grow with the square of the rank; these do not even grow in proportion to it, "
            "nor are they constant.",
        ),
        paper=Judgement.CONTRADICTED,
        measured=(
            "Counted on ViT-H with the default cell: "
            + ", ".join(f"{n:,} (rank {rank})" for rank, n in counted.items())
            + ".",
        ),
        ours=Judgement.HOLDS
        if len(met) == len(counted)
        else Judgement.PARTLY
        if met
        else Judgement.CONTRADICTED,
    )


def _place(table: str, row: str) -> str:
    heading = {"7": "rank ", "8": "layers ", "D1": "channels "}.get(table, "")
    return f"Table {table}, {heading}{row}"


def _follows(params: Printed, ratio: Printed, total: float) -> bool:
    """Whether a printed share is that of printed parameters; both are rounded."""
    slack = ratio.half_unit + 100 * params.half_unit / total
    return abs(100 * params.value / total - ratio.value) <= slack


CLAIMS = (ratios, one_count_for_all_tasks, half_of_the_layers, vera_and_mona, ranks)
