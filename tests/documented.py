"""The commands that the documentation shows, in code blocks and in sentences."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = {str(path.relative_to(ROOT)): path for path in sorted((ROOT / "docs").rglob("*.md"))}
PAGES |= {name: ROOT / name for name in ("README.md", "CONTRIBUTING.md")}
_BLOCK = re.compile(r"^ *```\w*\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
_PROGRAMS = "naslora|snakemake|dvc|git|make|source|srun|sbatch|pip|docker|singularity|apptainer"
_COMMAND = re.compile(rf"(?:{_PROGRAMS}|tests/\w+(?:/run)?)(?: |$)")


def text_of(page: str) -> str:
    return PAGES[page].read_text(encoding="utf-8")


def commands(page: str) -> list[str]:
    """The commands in the code blocks of a page, in order, each on one line without comments.

    Commands of naslora that are joined by && are listed separately.
    """
    lines = [
        " ".join(line.split())
        for block in _BLOCK.findall(text_of(page))
        for lines in block.replace("\\\n", " ").splitlines()
        for line in re.split(r" && +(?=naslora )", lines)
    ]
    return [re.sub(r" +#.*", "", line) for line in lines if _COMMAND.match(line)]


def in_sentences(page: str) -> list[str]:
    """Commands of naslora with arguments in the sentences of a page."""
    prose = " ".join(_BLOCK.sub("", text_of(page)).split())
    return [one for one in re.findall(r"`(naslora \w+ [^`]*)`", prose) if "…" not in one]


def all_commands() -> Iterator[tuple[str, str]]:
    """Each page with each of its commands."""
    for page in PAGES:
        for command in [*commands(page), *in_sentences(page)]:
            yield page, command


def arguments(command: str) -> list[str]:
    """The words after the program's name."""
    return shlex.split(command)[1:]
