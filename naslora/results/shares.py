"""The share of each candidate operation in the cells of trained runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from naslora.results.aggregate import Aggregate
from naslora.study.layout import Layout
from naslora.study.records import Receipt, read_record
from naslora.study.settings import Study

_CELL = re.compile(r"\bblocks\.(\d+)\..*?branches\.(\w+)\.")
LABELS: Mapping[str, str] = {
    "sep_conv_3x3": "sep. conv 3 x 3",
    "sep_conv_5x5": "sep. conv 5 x 5",
    "dil_conv_3x3": "dil. conv 3 x 3",
    "dil_conv_5x5": "dil. conv 5 x 5",
    "avg_pool_3x3": "avg pool 3 x 3",
    "max_pool_3x3": "max pool 3 x 3",
    "skip": "skip",
    "zero": "no connection",
}


@dataclass(frozen=True)
class Shares:
    """Softmax(alpha) of all cells of a method on a task, after the last epoch.

    Attributes:
        operations: names, in the order of alpha.
        blocks: block of each cell, from 0.
        projections: "qkv", or "q", "k" or "v" of each cell.
        seeds: of the runs.
        values: (seeds, cells, operations).
    """

    operations: tuple[str, ...]
    blocks: tuple[int, ...]
    projections: tuple[str, ...]
    seeds: tuple[int, ...]
    values: NDArray[np.float64]


def read_shares(study: Study, records: Aggregate, task: str, method: str) -> Shares | None:
    """The shares of a method's runs that are done; None without any, or where they have no cells.

    Raises:
        RecordError: a record changed since the records were read.
    """
    receipts: dict[int, Receipt] = {}
    for seed in study.seeds:
        if records.status(task, method, seed) == "done":
            training = read_record(Layout.of(study).record(task, method, seed)).training
            if training is not None and training.alpha:
                receipts[seed] = training
    if not receipts:
        return None
    last = [receipt.alpha[-1] for receipt in receipts.values()]
    places = {name: _place(name) for name in last[0]}
    names = sorted(places, key=lambda name: (places[name][0], "qkv".find(places[name][1])))
    values = np.array([[cells[name] for name in names] for cells in last])
    settings = next(iter(receipts.values())).settings["method_settings"]
    return Shares(
        operations=_operations(settings, values.shape[-1]),
        blocks=tuple(places[name][0] for name in names),
        projections=tuple(places[name][1] for name in names),
        seeds=tuple(receipts),
        values=values,
    )


def _place(name: str) -> tuple[int, str]:
    match = _CELL.search(name)
    return (int(match[1]), match[2]) if match else (0, name)


def _operations(settings: Mapping[str, Any], count: int) -> tuple[str, ...]:
    named = tuple(settings.get("operations", LABELS))
    return named if len(named) == count else tuple(f"operation {i}" for i in range(count))
