"""Commands for a whole study: checking, planning and running it."""

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
    show,
)


@app.command(rich_help_panel=STUDIES)
def run(
    study: StudyOption = None,
    set_: SetOption = None,
    profile: Annotated[
        str,
        typer.Option(help="local, slurm, or a Snakemake profile of your own.", metavar="PROFILE"),
    ] = "local",
    target: Annotated[
        str, typer.Option(help="all_data, all_runs, all_tables or all_figures.")
    ] = "all_tables",
    check: Annotated[bool, typer.Option("--check/--no-check", help="Run the doctor first.")] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Show the jobs; run nothing.")
    ] = False,
    snakemake: Annotated[
        list[str] | None,
        typer.Argument(help="Options for Snakemake, after --.", metavar="-- [OPTION]..."),
    ] = None,
) -> None:
    """Run a study: the doctor's checks, then Snakemake with the same settings."""
    from naslora.doctor.examine import examine
    from naslora.doctor.report import can_run, print_checks
    from naslora.planning.resolve import check_settings
    from naslora.study.settings import parse_overrides
    from naslora.workflow.run import run_snakemake

    settings = load(study, set_)
    check_settings(settings)
    if check:
        checks = examine(settings)
        if not can_run(checks):
            print_checks(checks, settings.study)
            raise typer.Exit(1)
    options = [*(["--dry-run"] if dry_run else []), *(snakemake or [])]
    overrides = parse_overrides(set_ or [])
    raise typer.Exit(run_snakemake(settings.study, overrides, profile, target, options))


@app.command(rich_help_panel=STUDIES)
def doctor(
    study: StudyOption = None,
    set_: SetOption = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Also compare the hashes of archives and checkpoint.")
    ] = False,
    format_: Annotated[
        Literal["text", "json"], typer.Option("--format", help="Format of the output.")
    ] = "text",
    picture: Annotated[
        Path | None, typer.Option(help="Also write the table as an SVG picture.", metavar="FILE")
    ] = None,
) -> None:
    """Check whether this machine has everything that a study needs; exit code 1 if not."""
    from naslora.doctor.examine import examine
    from naslora.doctor.report import can_run, checks_json, print_checks, save_picture
    from naslora.planning.resolve import check_settings

    settings = load(study, set_)
    check_settings(settings)
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
        typer.Option(min=1, help="Number of parallel jobs, for the wall time; repeatable."),
    ] = None,
    format_: Annotated[
        Literal["text", "json"], typer.Option("--format", help="Format of the output.")
    ] = "text",
) -> None:
    """Estimate the GPU-hours, the wall time and the disk space that a study still needs."""
    from naslora.planning.estimate import make_plan
    from naslora.planning.report import plan_json, plan_text
    from naslora.planning.resolve import check_settings

    settings = load(study, set_)
    check_settings(settings)
    found = make_plan(settings)
    if format_ == "text":
        show(plan_text(found, jobs or [1, 8, 32]))
    else:
        typer.echo(plan_json(found, jobs or [1, 8, 32]), nl=False)
