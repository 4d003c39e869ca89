"""A claim of the paper, and the judgements on it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from naslora.paper.published import Printed, printed


class Judgement(StrEnum):
    """The judgement of a set of numbers on a claim."""

    HOLDS = "holds"
    PARTLY = "holds in part"
    CONTRADICTED = "contradicted"
    OPEN = "undecided"
    NOT_MEASURED = "not measured"
    PRINT_ALONE = "about printed numbers only"


@dataclass(frozen=True)
class Claim:
    """A claim, in our words.

    Attributes:
        key: a short name, for links and filters.
        text: what the paper says.
        source: section, table or equation of the paper.
        arithmetic: what follows from the paper's own numbers, a sentence each.
        paper: the judgement of the paper's own numbers.
        measured: what follows from the study's records, a sentence each; empty without records.
        ours: the judgement of these records, in the study's setting.
    """

    key: str
    text: str
    source: str
    arithmetic: tuple[str, ...]
    paper: Judgement
    measured: tuple[str, ...] = ()
    ours: Judgement = Judgement.NOT_MEASURED


def number(table: str, row: str, column: str) -> Printed:
    """A number that the paper printed, with its digits.

    Raises:
        KeyError: the paper has no such cell, or leaves it empty.
    """
    found = printed(table, row, column)
    if found is None:
        raise KeyError(f"Table {table} prints nothing for {row}, {column}")
    return found


def value(table: str, row: str, column: str) -> float:
    """A number that the paper printed.

    Raises:
        KeyError: the paper has no such cell, or leaves it empty.
    """
    return number(table, row, column).value
