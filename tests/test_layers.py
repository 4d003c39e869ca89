"""Imports go downward only, in the order that CONTRIBUTING.md gives."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def layers() -> list[set[str]]:
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    block = re.search(r"(?:^    .*→.*\n)+", guide, re.MULTILINE)
    assert block
    return [set(re.findall(r"\w+", part)) for part in block[0].split("→")]


def imported(path: Path) -> Iterator[str]:
    """The parts of naslora that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "naslora":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("naslora."):
            yield str(node.module).split(".")[1]
        elif isinstance(node, ast.Import):
            names = (alias.name.split(".") for alias in node.names)
            yield from (name[1] for name in names if name[0] == "naslora" and len(name) > 1)


def test_the_layers_are_parts_of_the_package() -> None:
    packages = {path.parent.name for path in (ROOT / "naslora").glob("*/__init__.py")}
    assert set().union(*layers()) == packages


@pytest.mark.parametrize("layer", range(len(layers())))
def test_imports_go_downward(layer: int) -> None:
    above_or_beside = set().union(*layers()[: layer + 1])
    for part in layers()[layer]:
        home = ROOT / "naslora" / part
        for path in home.rglob("*.py") if home.is_dir() else [home.with_suffix(".py")]:
            upward = set(imported(path)) & (above_or_beside - {part})
            assert not upward, f"{path.relative_to(ROOT)} imports {', '.join(sorted(upward))}"
