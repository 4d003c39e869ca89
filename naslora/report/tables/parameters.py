"""Trainable parameters of every row, counted on the meta device, beside the paper's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch

from naslora.core.errors import SettingsError
from naslora.methods.registry import adapt, get_method, trainable_parameters
from naslora.nas.settings import PAPER_COUNT
from naslora.paper.counts import Count
from naslora.paper.published import METHOD_ROWS, NAS_METHODS, Printed, printed
from naslora.report.tables.markdown import DASH, grid
from naslora.sam.backbones import BACKBONES
from naslora.sam.building import build_sam, original_parameters
from naslora.study.settings import Variant

Format = Literal["text", "csv", "json", "md"]

_VERA = (
    "The paper's 0.32 M is VeRA's alone, with q, k and v apart and rank 2048 (319,488); its mask "
    "decoder is not in the count, though every other row's is."
)
_MONA = (
    "No natural choice gives 17.08 M; the official module, of width 64 and twice in each block, "
    "gives this."
)
_SCRATCH = (
    "The paper counts all of Meta's SAM. The semantic decoder of a binary task has one mask token "
    "instead of four, and neither the IoU head nor the prompt encoder's prompts get a gradient."
)
_PRESET = (
    "The paper's count: cells on q and on v, of style darts with biases in the convolutions "
    "(naslora.nas.settings.PAPER_COUNT). The study `paper` trains them as the rows of Table 1, and "
    "linear cells on the fused qkv, which merge, as further rows."
)
_RANKS = (
    "No one choice of cell gives the paper's counts at ranks 3, 6, 12 and 24; this is the default "
    "cell, linear and on the fused qkv."
)
_LAYERS = (
    "The paper prints half of 4.009 M, which halves the mask decoder too; the decoder is whole in "
    "both rows."
)


@dataclass(frozen=True)
class _Spec:
    table: str
    row: str
    title: str
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    note: str | None = None


def count_parameters(backbone: str, others: Mapping[str, Variant] | None = None) -> list[Count]:
    """Count the rows of Tables 1, 7, 8 and D1 for a binary task, in seconds and without weights.

    Args:
        backbone: the paper's is vit_h; for others its numbers are left out.
        others: further rows by title, such as a study's variants; those with the method and
            settings of another row are left out.

    Raises:
        SettingsError: there is no such backbone.
    """
    if backbone not in BACKBONES:
        raise SettingsError(
            f"no backbone {backbone!r}", remedy=f"choose one of {', '.join(BACKBONES)}"
        )
    total = original_parameters(backbone, 1024)
    specs = [*_table1(), *_ablations(BACKBONES[backbone].depth)]
    known = [(spec.method, dict(spec.settings)) for spec in specs]
    specs += [
        _Spec("", "", name, variant.method, variant.settings)
        for name, variant in (others or {}).items()
        if (variant.method, variant.settings) not in known
    ]
    return [_count(spec, backbone, total) for spec in specs]


def counts_text(counts: Sequence[Count], style: Format) -> str:
    """The counts as an aligned table with footnotes (`text`, `md`), as CSV or as JSON."""
    if style == "json":
        return json.dumps([asdict(count) for count in counts], indent=2) + "\n"
    if style == "csv":
        import pandas as pd

        return pd.DataFrame([asdict(count) for count in counts]).to_csv(index=False)
    notes = list(dict.fromkeys(count.note for count in counts if count.note))
    lines = [
        [
            count.title + (f" ({notes.index(count.note) + 1})" if count.note else ""),
            count.table or DASH,
            f"{count.trainable:,}",
            f"{count.trainable / 1e6:.3f}",
            count.paper_params_m or DASH,
            f"{count.ratio_pct:.2f}",
            count.paper_ratio_pct or DASH,
        ]
        for count in counts
    ]
    header = ["Row", "Table", "Trainable", "M", "Paper (M)", "Ratio (%)", "Paper (%)"]
    footnotes = "\n\n".join(f"({i}) {note}" for i, note in enumerate(notes, start=1))
    return f"{grid(header, lines)}\n\n{footnotes}\n"


def _table1() -> list[_Spec]:
    notes = {"vera": _VERA, "mona": _MONA, "scratch": _SCRATCH}
    specs = []
    for method, row in METHOD_ROWS.items():
        title = get_method(method).title
        specs.append(_Spec("1", row, title, method, note=notes.get(method)))
        if method in NAS_METHODS:
            specs.append(
                _Spec("1", row, f"{title}, paper's count", method, PAPER_COUNT, note=_PRESET)
            )
    return specs


def _ablations(depth: int) -> list[_Spec]:
    half = depth // 2
    specs = [
        _Spec("7", str(rank), f"NAS-PC-LoRA, rank {rank}", "nas_pc_lora", {"rank": rank}, _RANKS)
        for rank in (6, 12, 24)
    ]
    specs += [
        _Spec("8", row, f"NAS-PC-LoRA, layers {name}", "nas_pc_lora", {"layers": layers}, _LAYERS)
        for row, name, layers in (
            ("1-16", f"1-{half}", "first_half"),
            ("16-32", f"{half + 1}-{depth}", "last_half"),
        )
    ]
    specs += [
        _Spec(
            "D1",
            row,
            f"NAS-LoRA, {row} of the channels, paper's count",
            "nas_lora",
            {**PAPER_COUNT, "ratio": ratio},
            _PRESET,
        )
        for row, ratio in (("3/3", 1.0), ("2/3", 2 / 3), ("1/3", 1 / 3))
    ]
    return specs


def _count(spec: _Spec, backbone: str, total: int) -> Count:
    with torch.device("meta"):
        sam = build_sam(backbone, 1024)
        adapt(sam, spec.method, spec.settings)
    trainable = sum(p.numel() for p in trainable_parameters(sam).values())
    compared = backbone == "vit_h" and spec.table
    return Count(
        table=spec.table,
        title=spec.title,
        trainable=trainable,
        ratio_pct=100 * trainable / total,
        paper_params_m=_text(printed(spec.table, spec.row, "params_m")) if compared else None,
        paper_ratio_pct=_text(printed(spec.table, spec.row, "ratio_pct")) if compared else None,
        note=spec.note,
    )


def _text(number: Printed | None) -> str | None:
    return number.text if number else None
