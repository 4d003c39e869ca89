"""Markdown: tables with aligned source, and escaped text."""

from __future__ import annotations

import re
from collections.abc import Sequence

DASH = "\N{EN DASH}"
_MARKUP = re.compile(r"[<>&\[\]]")
_PLAIN = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "[": "\\[", "]": "\\]"}


def plain(text: str) -> str:
    """Text from outside, such as a title or an error, escaped and in one line."""
    return _MARKUP.sub(lambda match: _PLAIN[match[0]], " ".join(text.split()))


def grid(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is left-aligned, the others right-aligned."""
    cells = [[plain(text).replace("|", "\\|") for text in line] for line in (header, *lines)]
    widths = [max(3, *(len(line[i]) for line in cells)) for i in range(len(header))]
    rules = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    texts = [
        [
            text.ljust(width) if index == 0 else text.rjust(width)
            for index, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in (cells[0], rules, *cells[1:])
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in texts)


def bullets(lines: Sequence[str]) -> str:
    """A list of sentences."""
    return "\n".join(f"- {plain(line)}" for line in lines)
