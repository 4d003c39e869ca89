"""The tables and figures of a study, by name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from naslora.errors import SettingsError
from naslora.layout import Layout
from naslora.report.table1 import write_table1
from naslora.report.writers import SUFFIXES
from naslora.settings import Study

TABLES: dict[str, Callable[[Study], object]] = {"table1": write_table1}
FIGURES = ("outlines", "losses")


def write_tables(study: Study, names: Sequence[str]) -> list[Path]:
    """Write tables from records, each as CSV, Markdown and LaTeX.

    Raises:
        SettingsError: there is no such table.
        DiskError: a file cannot be written.
    """
    _check("table", names, TABLES)
    paths = []
    for name in names:
        TABLES[name](study)
        paths += [Layout.of(study).table(name, suffix) for suffix in SUFFIXES]
    return paths


def write_figures(study: Study, names: Sequence[str]) -> list[Path]:
    """Draw figures.

    Raises:
        SettingsError: there is no such figure.
        RecordError: what a figure shows was not run.
        DiskError: a file cannot be written.
    """
    _check("figure", names, FIGURES)
    for name in names:
        path = Layout.of(study).figure(name)
        if name == "losses":
            from naslora.report.aggregate import aggregate
            from naslora.report.curves import draw_losses

            draw_losses(study, aggregate(study), path)
        else:
            # Loads SAMs, and so torch, which tables do not need.
            from naslora.report.visual_comparison import draw_visual_comparison

            draw_visual_comparison(study, path)
    return [Layout.of(study).figure(name) for name in names]


def _check(kind: str, names: Sequence[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise SettingsError(
                f"no {kind} named {name!r}", remedy=f"choose from {', '.join(known)}"
            )
