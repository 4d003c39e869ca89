"""Numbers and lists of names in messages and captions."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 run", "2 runs"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def range_of(numbers: Sequence[int], noun: str) -> str:
    """The least and the largest number with a noun: "1 run", "2 runs", "2 to 3 runs"."""
    low, high = min(numbers), max(numbers)
    return counted(high, noun) if low == high else f"{low} to {counted(high, noun)}"


def joined(words: Sequence[str]) -> str:
    """Words as a list in a sentence: "a", "a and b", "a, b and c"."""
    return " and ".join((", ".join(words[:-1]), words[-1])) if len(words) > 1 else "".join(words)


def first_of(words: Sequence[str], shown: int = 3) -> str:
    """The first words, and the number of the others: "a, b, c and 7 more"."""
    more = f" and {len(words) - shown} more" if len(words) > shown else ""
    return ", ".join(words[:shown]) + more


def signed(value: float) -> str:
    """A difference with its sign and one decimal; a value that rounds to zero gives "+0.0"."""
    return f"{round(value, 1) + 0.0:+.1f}"
