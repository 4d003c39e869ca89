"""Training and prediction work on systems without Unix's own modules, such as Windows."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from naslora.own.example import write_example

ROOT = Path(__file__).parents[1]
UNIX_ONLY = {"fcntl", "grp", "pwd", "resource", "termios", "tty"}
# Run first, to remove the Unix features that Python lacks on Windows.
AS_ON_WINDOWS = """
import os, signal, sys
import psutil  # its code for Linux imports resource
for name in ("fcntl", "grp", "pwd", "resource"):
    sys.modules[name] = None
for name in ("SIGUSR1", "SIGUSR2", "SIGHUP", "SIGALRM", "SIGKILL"):
    delattr(signal, name)
for name in ("fork", "getuid", "geteuid", "setsid", "killpg", "sched_getaffinity"):
    delattr(os, name)
"""
# The packages that training and prediction import.
ROOMS = ("core", "study", "sam", "nas", "methods", "data", "training", "evaluation", "own", "cli")


@pytest.mark.parametrize(
    "module",
    ["naslora.training.train", "naslora.evaluation.predict", "naslora.own.api", "naslora.cli"],
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


@pytest.mark.slow
def test_fit_and_predict_run_without_what_windows_lacks(tmp_path: Path) -> None:
    write_example(tmp_path / "leaves", count=10)

    def run(*words: str) -> str:
        code = f"{AS_ON_WINDOWS}\nfrom naslora.cli import main\nsys.argv[0] = 'naslora'\nmain()"
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code, *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    quick = ["--image-size", "64", "--epochs", "1", "--set", "training.accelerator=cpu"]
    said = run("fit", "leaves", "--out", "run", "--method", "lora", *quick)
    assert "held-out images" in said
    run("predict", "run", "leaves/images", "--out", "masks", "--device", "cpu")
    assert len(list((tmp_path / "masks").glob("*.png"))) == 10
