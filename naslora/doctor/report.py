"""The doctor's findings as a table for the terminal and as JSON."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from naslora.core.files import write_text
from naslora.doctor.check import Check

_MARKS = {
    "ok": ("✓", "ok", "green"),
    "note": ("·", "--", "bright_black"),
    "warning": ("!", "!!", "yellow"),
    "problem": ("✗", "NO", "bold red"),
}
_GROUPS = {"machine": "Machine", "model": "Model", "data": "Images"}
_WIDTH = 116
# The picture has no web fonts: pages that show it load nothing from elsewhere.
_FONT_FACE = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def print_checks(checks: Sequence[Check], study: str, file: TextIO | None = None) -> None:
    """Print the table: in colours and as wide as a terminal, else plain."""
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
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1), expand=True)
    table.add_column(width=2)
    table.add_column(ratio=3, overflow="fold")
    table.add_column(ratio=9, overflow="fold")
    for index, (group, title) in enumerate(_GROUPS.items()):
        heading = "\n" * (index > 0) + title
        table.add_row("", Text(heading, style="bold"), "")
        for check in checks:
            if check.group == group:
                mark, ascii_mark, colour = _MARKS[check.state]
                text = Text(check.finding, style="" if check.state != "note" else "bright_black")
                if check.remedy and check.state in ("warning", "problem"):
                    arrow = "-> " if plain else "→ "
                    text.append(f"\n{arrow}{check.remedy}", style="cyan")
                table.add_row(Text(ascii_mark if plain else mark, style=colour), check.name, text)
    console.print(table)
    console.print()
    console.print(_verdict(checks, study))


def _verdict(checks: Sequence[Check], study: str) -> Text:
    problems = sum(check.state == "problem" for check in checks)
    warnings = sum(check.state == "warning" for check in checks)
    noted = f", {warnings} warning{'s' * (warnings > 1)}" if warnings else ""
    if problems:
        missing = f"{problems} problem{'s' * (problems > 1)}"
        return Text(f"Study {study} cannot run: {missing}{noted}.", style="bold red")
    return Text(f"Study {study} can run{noted}.", style="bold green")
