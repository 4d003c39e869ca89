"""Commands that write tables, figures and reports from records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from naslora.cli.app import (
    RESULTS,
    SetOption,
    StudyOption,
    app,
    echo_path,
    load,
    show,
)


@app.command(rich_help_panel=RESULTS)
def table(
    names: Annotated[
        list[str], typer.Argument(help="Tables, e.g. table1; or all.", metavar="NAME")
    ],
    study: StudyOption = None,
    set_: SetOption = None,
) -> None:
    """Write tables from records, as CSV, Markdown and LaTeX; print the methods' scores."""
    from rich.console import Console

    from naslora.report.tables.catalogue import ALL, write_tables
    from naslora.report.tables.console import print_results
    from naslora.results.aggregate import aggregate
    from naslora.study.layout import Layout

    settings = load(study, set_)
    paths = write_tables(settings, names)
    if ALL in names:
        echo_path(f"{len({path.stem for path in paths})} tables", Layout.of(settings).tables)
    else:
        for path in paths:
            echo_path("table", path)
    print_results(settings, aggregate(settings), Console())


@app.command(rich_help_panel=RESULTS)
def figure(
    names: Annotated[
        list[str], typer.Argument(help="Figures, e.g. figure3, or all.", metavar="NAME")
    ],
    allow_empty: Annotated[
        bool,
        typer.Option("--allow-empty", help="Write a figure that has nothing to show; it says why."),
    ] = False,
    study: StudyOption = None,
    set_: SetOption = None,
) -> None:
    """Draw figures from records and adapter weights, each with its caption and its numbers."""
    from naslora.report.figures.catalogue import ALL, write_figures
    from naslora.study.layout import Layout

    settings = load(study, set_)
    folder = Layout.of(settings).figures
    written: list[Path] = []
    try:
        write_figures(settings, names, allow_empty=allow_empty, written=written.append)
    finally:  # some may have nothing to show
        if ALL not in names:
            for path in written:
                echo_path("figure", path)
        elif written:
            echo_path(f"{len({path.stem for path in written})} figures", folder)


@app.command(rich_help_panel=RESULTS)
def report(study: StudyOption = None, set_: SetOption = None) -> None:
    """Write report.html: all tables, figures, claims and runs in one file, for any browser."""
    from naslora.report.page.build import write_report

    echo_path("report", write_report(load(study, set_)))


@app.command(rich_help_panel=RESULTS)
def audit(study: StudyOption = None, set_: SetOption = None) -> None:
    """Print the paper's claims, the arithmetic of its own numbers, and what was measured here."""
    from naslora.report.claims.audit import audit_claims, claims_markdown
    from naslora.results.aggregate import aggregate

    settings = load(study, set_)
    show(claims_markdown(settings, audit_claims(settings, aggregate(settings))))


@app.command(rich_help_panel=RESULTS)
def params(
    backbone: Annotated[str, typer.Option(help="vit_h, vit_l, vit_b, small or tiny.")] = "vit_h",
    format_: Annotated[
        Literal["text", "md", "csv", "json"], typer.Option("--format", help="Format of the output.")
    ] = "text",
    study: StudyOption = None,
    set_: SetOption = None,
) -> None:
    """Count the trainable parameters of every method, beside the paper's; needs no weights."""
    from naslora.report.tables.parameters import count_parameters, counts_text

    variants = load(study, set_).variants
    text = counts_text(count_parameters(backbone, variants), format_)
    if format_ == "text":
        show(text)
    else:
        typer.echo(text, nl=False)


@app.command(rich_help_panel=RESULTS)
def check(
    every: Annotated[bool, typer.Option("--all", help="Also list the points that pass.")] = False,
    study: StudyOption = None,
    set_: SetOption = None,
) -> None:
    """Check that a study's scores can distinguish a good method from a broken one.

    The exit code is 1 if a point fails.
    """
    from naslora.results.check import check_study

    points = check_study(load(study, set_))
    for point in points:
        if every or not point.passed:
            mark = "passed" if point.passed else "FAILED"
            typer.echo(f"{mark}  {point.where}: {point.name}\n        {point.found}")
    failed = sum(not point.passed for point in points)
    typer.echo(f"{len(points) - failed} of {len(points)} points passed")
    if failed:
        raise typer.Exit(1)
