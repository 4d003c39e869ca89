"""The numbers that the paper printed, as data: arXiv 2512.03499, Tables 1 to 9 and D1."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

TABLES = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "D1")

# Our names of the methods to the paper's, in the order of Table 1.
METHOD_ROWS: Mapping[str, str] = {
    "scratch": "SAM (scratch)",
    "decoder_only": "Decoder-only",
    "sam_adapter": "SAM-Adapter",
    "mona": "Mona",
    "bitfit": "BitFit",
    "vpt": "VPT",
    "lora": "LoRA",
    "conv_lora": "Conv-LoRA",
    "dora": "DoRA",
    "vera": "VeRA",
    "nas_lora": "NAS-LoRA",
    "nas_pc_lora": "NAS-PC-LoRA",
}

# The paper's own methods.
NAS_METHODS = ("nas_lora", "nas_pc_lora")

# Not parameter-efficient; the paper puts the first in a group of its own, which it does not rank.
NOT_PEFT = frozenset({"scratch", "full_finetuning"})

# Number of leading columns that together name a row; 1 for tables that are not listed.
_KEY_COLUMNS = {"9": 2}
_KEY_SEPARATOR = " / "


@dataclass(frozen=True)
class Printed:
    """A number as the paper prints it."""

    text: str

    @property
    def value(self) -> float:
        return float(self.text)

    @property
    def half_unit(self) -> float:
        """Half a unit of the last printed digit: the largest rounding error."""
        return 0.5 * 10.0 ** -len(self.text.partition(".")[2])


def printed(table: str, row: str, column: str) -> Printed | None:
    """A cell of a table of the paper; None if the paper leaves it empty.

    Args:
        table: "1" to "9" or "D1".
        row: the paper's name of the row; in Table 9 `<T_B> / <alternation>`.
        column: the column's name in `tables/table<N>.csv`.

    Raises:
        KeyError: the table has no such row or column.
    """
    text = _table(table)[row][column]
    return Printed(text) if text else None


def rows(table: str) -> tuple[str, ...]:
    """The rows of a table, in the paper's order."""
    return tuple(_table(table))


def columns(table: str) -> tuple[str, ...]:
    """The columns of a table that hold numbers, in the paper's order."""
    return tuple(next(iter(_table(table).values())))


@cache
def _table(name: str) -> dict[str, dict[str, str]]:
    if name not in TABLES:
        raise KeyError(f"the paper has no table {name!r}; it has {', '.join(TABLES)}")
    text = files("naslora.paper").joinpath("tables", f"table{name}.csv").read_text("utf-8")
    header, *lines = csv.reader(text.splitlines())
    keys = _KEY_COLUMNS.get(name, 1)
    return {
        _KEY_SEPARATOR.join(line[:keys]): dict(zip(header[keys:], line[keys:], strict=True))
        for line in lines
    }
