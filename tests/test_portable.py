"""Training and prediction import on systems without Unix's own modules, such as Windows."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UNIX_ONLY = {"fcntl", "grp", "pwd", "resource", "termios", "tty"}
# What the ways to train and to predict import, besides what these import.
ROOMS = ("core", "study", "sam", "nas", "methods", "data", "training", "evaluation")


@pytest.mark.parametrize(
    "module",
    ["naslora.training.fit", "naslora.training.train", "naslora.evaluation.predict"],
)
def test_it_imports_without_fcntl(module: str) -> None:
    code = f"import sys; sys.modules['fcntl'] = None; import {module}; print('imported')"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout == "imported\n", done.stderr


def top_level(path: Path) -> set[str]:
    """Modules that a file imports when it is imported."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_no_module_of_unix_alone_is_imported_at_the_top(room: str) -> None:
    files = list((ROOT / "naslora" / room).rglob("*.py"))
    assert files
    for path in files:
        assert not top_level(path) & UNIX_ONLY, path
