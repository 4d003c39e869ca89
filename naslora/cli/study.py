"""Commands about a whole study: whether it can run here, and what it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from naslora.cli.app import (
    STUDIES,
    SetOption,
    StudyOption,
    app,
    load,
)


@app.command(rich_help_panel=STUDIES)
def doctor(
    study: StudyOption = None,
    set_: SetOption = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read archives and checkpoint whole, for their hashes.")
    ] = False,
    format_: Annotated[
        Literal["text", "json"], typer.Option("--format", help="Of the output.")
    ] = "text",
    picture: Annotated[
        Path | None, typer.Option(help="Also write the table as an SVG picture.", metavar="FILE")
    ] = None,
) -> None:
    """Check whether this machine has everything that a study needs; exit code 1 if not."""
    from naslora.doctor.examine import examine
    from naslora.doctor.report import can_run, checks_json, print_checks, save_picture

    settings = load(study, set_)
    checks = examine(settings, verify)
    if format_ == "json":
        typer.echo(checks_json(checks, settings.study), nl=False)
    else:
        print_checks(checks, settings.study)
    if picture is not None:
        save_picture(checks, settings.study, picture)
    if not can_run(checks):
        raise typer.Exit(1)


@app.command(rich_help_panel=STUDIES)
def plan(
    study: StudyOption = None,
    set_: SetOption = None,
    jobs: Annotated[
        list[int] | None,
        typer.Option(min=1, help="So many at once, for the wall time; again for others."),
    ] = None,
    format_: Annotated[
        Literal["text", "json"], typer.Option("--format", help="Of the output.")
    ] = "text",
) -> None:
    """Estimate the GPU-hours, the wall time and the disk that is left of a study."""
    from naslora.planning.estimate import make_plan
    from naslora.planning.report import plan_json, plan_text

    write = plan_text if format_ == "text" else plan_json
    typer.echo(write(make_plan(load(study, set_)), jobs or [1, 8, 32]), nl=False)
