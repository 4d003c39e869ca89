"""The generators of benchmarks' archives, found by the name of the benchmark.

A generator is a module `naslora.synthetic.benchmarks.<name>` with the two functions of `Generator`.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from naslora.synthetic.fields import Drawing


class Generator(Protocol):
    """Draws images in the look of a benchmark, and writes them in its official layout."""

    def draw(self, rng: np.random.Generator) -> Drawing:
        """Draw an image uint8 (H, W, 3) and its labels uint8 (H, W)."""
        ...

    def generate(self, folder: Path, count: int, seed: int) -> list[Path]:
        """Write `count` drawn pairs as the benchmark's archive files.

        The same arguments give the same bytes.

        Raises:
            DiskError: the folder cannot be written to.
        """
        ...


def find_generator(name: str) -> Generator | None:
    """The generator of a benchmark; None if it has none of its own."""
    module = f"naslora.synthetic.benchmarks.{name}"
    if importlib.util.find_spec(module) is None:
        return None
    return cast(Generator, importlib.import_module(module))
