"""The `naslora` command: one sub-command per step of the pipeline, each usable by hand."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from naslora.errors import DivergedError, NasloraError
from naslora.layout import Layout
from naslora.settings import Study, load_study, parse_overrides

# Torch and the rooms that need it are imported inside the commands: `naslora --help` is instant.

app = typer.Typer(
    help="Adapt the Segment Anything Model to special domains, and compare the ways to do it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

StudyOption = Annotated[
    str | None, typer.Option("--study", "-s", help="A file config/<study>.yaml.", metavar="NAME")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a setting, e.g. training.epochs=5.", metavar="KEY=VALUE"),
]
TaskOption = Annotated[str, typer.Option(help="A benchmark, e.g. kvasir.")]
VariantOption = Annotated[str, typer.Option(help="A method or a variant of the study.")]
SeedOption = Annotated[int, typer.Option(help="Seed of the run.")]


def _study(name: str | None, overrides: list[str] | None) -> Study:
    return load_study(name, parse_overrides(overrides or []))


def _say(done: str, path: Path) -> None:
    typer.echo(f"{done}: {path}")


@app.command()
def generate(task: TaskOption, study: StudyOption = None, set_: SetOption = None) -> None:
    """Generate a task's images, in the official archive layout."""
    from naslora.data.prepare import generate_archives

    for archive in generate_archives(_study(study, set_), task):
        _say("generated", archive)


@app.command()
def prepare(task: TaskOption, study: StudyOption = None, set_: SetOption = None) -> None:
    """Find, verify, unpack, audit and split a task's images; write its manifest."""
    from naslora.data.prepare import prepare as prepare_task

    settings = _study(study, set_)
    manifest = prepare_task(settings, task)
    _say(f"{len(manifest.samples)} images", Layout.of(settings).manifest(task))


@app.command()
def fetch(
    study: StudyOption = None,
    set_: SetOption = None,
    backbone: Annotated[str | None, typer.Option(help="Default: the study's backbone.")] = None,
) -> None:
    """Find or download the official SAM checkpoint, and check it."""
    from naslora.sam.checkpoints import fetch_checkpoint

    sam = _study(study, set_).sam
    _say("checkpoint", fetch_checkpoint(backbone or sam.backbone, sam.checkpoints))


@app.command()
def pretrain(study: StudyOption = None, set_: SetOption = None) -> None:
    """Train a whole small SAM on generated images, to have something to adapt."""
    from naslora.training.pretraining import pretrain as pretrain_backbone

    settings = _study(study, set_)
    pretrain_backbone(settings)
    _say("backbone", Layout.of(settings).backbone())


@app.command()
def train(
    task: TaskOption,
    variant: VariantOption,
    seed: SeedOption = 0,
    study: StudyOption = None,
    set_: SetOption = None,
    record_divergence: Annotated[
        bool, typer.Option(help="Exit with 0 when training diverged; the receipt says so.")
    ] = False,
) -> None:
    """Train one method on one task; write adapter weights and a receipt."""
    from naslora.training.loop import train as train_run

    settings = _study(study, set_)
    receipt = Layout.of(settings).receipt(task, variant, seed)
    try:
        train_run(settings, task, variant, seed)
    except DivergedError as error:
        if not record_divergence:
            raise
        typer.echo(str(error))
    _say("receipt", receipt)


@app.command()
def evaluate(
    task: TaskOption,
    variant: VariantOption,
    seed: SeedOption = 0,
    study: StudyOption = None,
    set_: SetOption = None,
) -> None:
    """Evaluate a trained run on its test sets; write its record."""
    from naslora.evaluation.evaluate import evaluate as evaluate_run

    settings = _study(study, set_)
    evaluate_run(settings, task, variant, seed)
    _say("record", Layout.of(settings).record(task, variant, seed))


@app.command()
def controls(task: TaskOption, study: StudyOption = None, set_: SetOption = None) -> None:
    """Evaluate what needs no training: the blank mask and the mean training mask."""
    from naslora.evaluation.controls import evaluate_controls

    for path in evaluate_controls(_study(study, set_), task):
        _say("record", path)


@app.command()
def params(
    backbone: Annotated[str, typer.Option(help="vit_h, vit_l, vit_b, small or tiny.")] = "vit_h",
    format_: Annotated[
        Literal["text", "md", "csv", "json"], typer.Option("--format", help="Of the output.")
    ] = "text",
    study: StudyOption = None,
    set_: SetOption = None,
) -> None:
    """Count the trainable parameters of every method, beside the paper's; needs no weights."""
    from naslora.report.parameters import count_parameters, counts_text

    variants = _study(study, set_).variants
    typer.echo(counts_text(count_parameters(backbone, variants), format_), nl=False)


@app.command()
def table(
    names: Annotated[list[str], typer.Argument(help="Tables, e.g. table1.", metavar="NAME...")],
    study: StudyOption = None,
    set_: SetOption = None,
) -> None:
    """Write tables from records: CSV, Markdown and LaTeX."""
    from naslora.report.products import write_tables

    for path in write_tables(_study(study, set_), names):
        _say("table", path)


@app.command()
def figure(
    names: Annotated[
        list[str], typer.Argument(help="Figures: outlines, losses.", metavar="NAME...")
    ],
    study: StudyOption = None,
    set_: SetOption = None,
) -> None:
    """Draw figures from records and adapter weights."""
    from naslora.report.products import write_figures

    for path in write_figures(_study(study, set_), names):
        _say("figure", path)


def main() -> None:
    """Run the command line; show a `NasloraError` as one message and exit with its code."""
    try:
        app()
    except NasloraError as error:
        typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
