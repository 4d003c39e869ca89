"""Claims on numbers of parameters: the columns Params and Ratio of Tables 1, 2, 3, 7, 8 and D1."""

from __future__ import annotations

from functools import cache

from naslora.report.claims.claim import Claim, Judgement, value
from naslora.report.claims.evidence import Evidence
from naslora.report.counts import Count, counted_on_vit_h
from naslora.report.published import TABLES, columns, rows

_TOTAL = "SAM (scratch)"
# Other networks, whose ratio is of themselves.
_OTHERS = ("Translab", "Trans2Seg", "Domain Specific")


@cache
def _counts() -> dict[tuple[str, str], Count]:
    return {(count.table, count.title): count for count in counted_on_vit_h()}


def ratios(evidence: Evidence) -> Claim:
    """Whether the ratio column is the parameter column over SAM's."""
    del evidence
    total = value("1", _TOTAL, "params_m")
    off: dict[str, list[str]] = {}
    checked = 0
    for table in TABLES:
        if "ratio_pct" not in columns(table):
            continue
        for row in rows(table):
            if row in _OTHERS:
                continue
            checked += 1
            params, ratio = value(table, row, "params_m"), value(table, row, "ratio_pct")
            # Both are rounded: to half of a thousandth and half of a hundredth.
            if abs(100 * params / total - ratio) > 0.005 + 100 * 0.0005 / total:
                off.setdefault(f"100 x {params} / {total} = {100 * params / total:.4f}", []).append(
                    f"Table {table}, {row}: {ratio}"
                )
    lines = [f"{text}, printed otherwise in {'; '.join(where)}." for text, where in off.items()]
    wrong = sum(len(where) for where in off.values())
    return Claim(
        key="ratios",
        text="The ratio is the share of SAM's 641.09 million parameters.",
        source="Tables 1, 2, 3, 7, 8 and D1",
        arithmetic=(f"{checked - wrong} of {checked} printed ratios follow.", *lines),
        paper=Judgement.PARTLY if off else Judgement.HOLDS,
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
        measured=(f"Counted on ViT-H: {ours:,}.",),
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
        text="The number of parameters at ranks 3, 6, 12 and 24.",
        source="Table 7",
        arithmetic=(
            f"Without the mask decoder ({decoder:,}) and the low-rank matrices of 32 fused qkv "
            f"({per_rank:,} per rank), the printed millions leave for the cells: "
            f"{', '.join(left)}, each but the first to within 0.005. Their pointwise convolutions "
            "alone grow with the square of the rank: these do not grow even in proportion to it.",
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


CLAIMS = (ratios, half_of_the_layers, vera_and_mona, ranks)
