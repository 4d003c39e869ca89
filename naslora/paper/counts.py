"""Counts of parameters; those of ViT-H are stored, so that they need not be counted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Count:
    """The count of one row: trainable parameters, and their percentage of the original SAM's."""

    table: str
    title: str
    trainable: int
    ratio_pct: float
    paper_params_m: str | None
    paper_ratio_pct: str | None
    note: str | None


def counted_on_vit_h() -> list[Count]:
    """The result of `naslora.report.tables.parameters.count_parameters("vit_h")`, without torch."""
    text = files("naslora.paper").joinpath("counted", "vit_h.json").read_text("utf-8")
    return [Count(**row) for row in json.loads(text)]
