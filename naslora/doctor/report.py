"""The doctor's findings as a table for the terminal and as JSON."""

from __future__ import annotations

import json
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from io import StringIO
from itertools import zip_longest
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.text import Text

from naslora.core.files import write_text
from naslora.core.wording import counted
from naslora.doctor.check import Check

_MARKS = {
    "ok": ("✓", "ok", "green"),
    "note": ("·", "--", "bright_black"),
    "warning": ("!", "!!", "yellow"),
    "problem": ("✗", "NO", "bold red"),
}
_GROUPS = {"machine": "Machine", "model": "Model", "data": "Images"}
_WIDTH = 116
_MARK, _GAP = 4, 2  # widths of the column of marks, and of the space before the last one
# The picture has no web fonts, so that pages that show it load nothing from other sites.
_FONT_FACE = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def print_checks(checks: Sequence[Check], study: str, file: TextIO | None = None) -> None:
    """Print the table: on a terminal in colour and at its width, otherwise plain."""
    stream = file or sys.stdout
    width = shutil.get_terminal_size((_WIDTH, 0)).columns
    console = Console(file=stream, width=max(width, 60), highlight=False)
    _render(console, checks, study)


def save_picture(checks: Sequence[Check], study: str, path: Path) -> None:
    """Write the table as an SVG picture of a terminal.

    Raises:
        DiskError: the file cannot be written.
    """
    console = Console(
        file=StringIO(), record=True, width=_WIDTH, highlight=False, force_terminal=True
    )
    _render(console, checks, study)
    svg = console.export_svg(title=f"naslora doctor --study {study}")
    write_text(path, _FONT_FACE.sub("", svg))


def checks_json(checks: Sequence[Check], study: str) -> str:
    """All checks, and whether the study can run, as JSON."""
    value = {
        "schema_version": 1,
        "study": study,
        "can_run": can_run(checks),
        "checks": [
            {
                "group": check.group,
                "name": check.name,
                "state": check.state,
                "finding": check.finding,
                "remedy": check.remedy,
            }
            for check in checks
        ],
    }
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def can_run(checks: Sequence[Check]) -> bool:
    """Whether no check found a problem."""
    return all(check.state != "problem" for check in checks)


def _render(console: Console, checks: Sequence[Check], study: str) -> None:
    plain = not (console.encoding or "").lower().startswith("utf")
    for index, (group, title) in enumerate(_GROUPS.items()):
        console.print(Text("\n" * (index > 0) + " " * _MARK + title, style="bold"))
        for check in checks:
            if check.group == group:
                for line in _lines(check, console.width, plain):
                    console.print(line, soft_wrap=True)
    console.print()
    console.print(_verdict(checks, study))


def _lines(check: Check, width: int, plain: bool) -> list[Text]:
    """A check in three columns; a word that is too long for its column, such as a URL, is not
    broken, so that it can be copied.
    """
    mark, ascii_mark, colour = _MARKS[check.state]
    narrow = (width - _MARK) // 4 - _GAP
    names = _wrapped(check.name, narrow)
    wide = width - _MARK - narrow - _GAP
    grey = "bright_black" if check.state == "note" else ""
    texts = [(line, grey) for line in _wrapped(check.finding, wide)]
    if check.remedy and check.state in ("warning", "problem"):
        arrow = "-> " if plain else "→ "
        texts += [(line, "cyan") for line in _wrapped(arrow + check.remedy, wide)]
    marks = [ascii_mark if plain else mark]
    return [
        Text.assemble(
            ((sign or "").ljust(_MARK), colour), (name or "").ljust(narrow + _GAP), text or ("", "")
        )
        for sign, name, text in zip_longest(marks, names, texts)
    ]


def _wrapped(text: str, width: int) -> list[str]:
    return [
        part
        for line in text.splitlines()
        for part in textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)
    ]


def _verdict(checks: Sequence[Check], study: str) -> Text:
    problems = sum(check.state == "problem" for check in checks)
    warnings = sum(check.state == "warning" for check in checks)
    noted = f", {counted(warnings, 'warning')}" if warnings else ""
    if problems:
        found = counted(problems, "problem")
        return Text(f"Study {study} cannot run: {found}{noted}.", style="bold red")
    return Text(f"Study {study} can run{noted}.", style="bold green")
