"""The command `naslora`, and options that its sub-commands share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from naslora import __version__
from naslora.cli.labels import LabelledTyper
from naslora.study.settings import Study, load_study, parse_overrides

# Headings of the help.
OWN = "Your own images"
STUDIES = "A study"
RESULTS = "Results of a study"
STEPS = "Single steps of a study"

app = LabelledTyper(
    help="Adapt the Segment Anything Model (SAM) to a specialised domain, and compare methods.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

_STUDY_HELP = "A study: ./config/NAME.yaml, or one that naslora ships (rehearsal by default)."
StudyOption = Annotated[str | None, typer.Option("--study", "-s", help=_STUDY_HELP, metavar="NAME")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a setting, e.g. training.epochs=5.", metavar="KEY=VALUE"),
]
TaskOption = Annotated[str, typer.Option(help="A benchmark, e.g. kvasir.")]
VariantOption = Annotated[str, typer.Option(help="A method or a variant of the study.")]
SeedOption = Annotated[int, typer.Option(help="Seed of the run.")]


def load(name: str | None, overrides: list[str] | None) -> Study:
    """Load the study of the options --study and --set, and check that all that it names exists."""
    from naslora.planning.resolve import check_names

    study = load_study(name, parse_overrides(overrides or []))
    check_names(study)
    return study


def show(text: str) -> None:
    """Print Markdown: formatted for the width of a terminal, unchanged to a file or a pipe."""
    if not sys.stdout.isatty():
        typer.echo(text, nl=False)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(text))


def echo_path(what: str, path: Path) -> None:
    """Print the path of a file that was written."""
    typer.echo(f"{what}: {path}")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"naslora {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass
