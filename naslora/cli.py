"""The `naslora` command: one sub-command per step of the pipeline, each usable by hand."""

from __future__ import annotations

import shlex
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated, Literal

import typer

from naslora.core.errors import DivergedError, NasloraError
from naslora.study.layout import Layout
from naslora.study.settings import Study, load_study, parse_overrides

# Torch and the rooms that need it are imported inside the commands: `naslora --help` is instant.

app = typer.Typer(
    help="Adapt the Segment Anything Model to special domains, and compare the ways to do it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

_STUDY_HELP = "A file config/NAME.yaml; by default the one that config/defaults.yaml names."
StudyOption = Annotated[str | None, typer.Option("--study", "-s", help=_STUDY_HELP, metavar="NAME")]
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
def data(study: StudyOption = None, set_: SetOption = None) -> None:
    """Find, download and verify all archives of a study; list everything that is missing."""
    from naslora.data.archives.acquire import acquire, check_complete

    settings = _study(study, set_)
    words = ["naslora", "data", "--study", settings.study]
    words += [word for pair in set_ or [] for word in ("--set", pair)]
    check_complete(acquire(settings, tell=typer.echo), settings, shlex.join(words))


@app.command()
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

    settings = _study(study, set_)
    checks = examine(settings, verify)
    if format_ == "json":
        typer.echo(checks_json(checks, settings.study), nl=False)
    else:
        print_checks(checks, settings.study)
    if picture is not None:
        save_picture(checks, settings.study, picture)
    if not can_run(checks):
        raise typer.Exit(1)


@app.command()
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
    typer.echo(write(make_plan(_study(study, set_)), jobs or [1, 8, 32]), nl=False)


@app.command()
def prepare(task: TaskOption, study: StudyOption = None, set_: SetOption = None) -> None:
    """Find, verify, unpack, audit and split a task's images; write its manifest."""
    from naslora.data.prepare import prepare as prepare_task

    settings = _study(study, set_)
    manifest = prepare_task(settings, task)
    layout = Layout.of(settings)
    _say("audit", layout.audit(task).with_suffix(".md"))
    _say(f"{len(manifest.samples)} images", layout.manifest(task))


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
def predict(
    images: Annotated[
        list[Path],
        typer.Argument(help="Images of your own, or folders of them.", metavar="IMAGE"),
    ],
    adapter: Annotated[Path, typer.Option(help="What a run trained.", metavar="FILE")],
    output: Annotated[Path, typer.Option(help="Where the masks go.", metavar="FOLDER")],
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="The SAM that it was trained on; not for scratch.", metavar="FILE"),
    ] = None,
    probability: Annotated[
        bool, typer.Option("--probability", help="Write probabilities, 0 to 255.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace older masks.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    method_file: Annotated[
        Path | None, typer.Option(help="Of a method from outside the package.", metavar="FILE")
    ] = None,
) -> None:
    """Predict masks of any images with a trained adapter; needs no study."""
    from naslora.evaluation.predict import predict_files, to_device
    from naslora.methods.registry import load_method_files
    from naslora.methods.state import load_adapted_sam

    load_method_files([method_file] if method_file else [])
    sam = to_device(load_adapted_sam(adapter, checkpoint), device)
    masks = predict_files(sam, images, output, probability=probability, overwrite=overwrite)
    _say(f"{len(masks)} masks", output)


@app.command()
def controls(task: TaskOption, study: StudyOption = None, set_: SetOption = None) -> None:
    """Evaluate what needs no training: the blank mask and the mean training mask."""
    from naslora.evaluation.controls import evaluate_controls

    for path in evaluate_controls(_study(study, set_), task):
        _say("record", path)


@app.command()
def analyse(
    model: Annotated[
        str, typer.Option(help="random, sam, or a trained method or variant.", metavar="MODEL")
    ],
    task: Annotated[str | None, typer.Option(help="Default: analysis.task.")] = None,
    seed: Annotated[int | None, typer.Option(help="Default: the study's first seed.")] = None,
    study: StudyOption = None,
    set_: SetOption = None,
) -> None:
    """Measure attention distances and log amplitudes of a model's layers (Table 4)."""
    from naslora.analysis.analyse import analyse as analyse_model

    settings = _study(study, set_)
    done = analyse_model(settings, model, task, seed)
    _say("analysis", Layout.of(settings).analysis(done.task, done.model, done.seed))


@app.command("time")
def time_(
    output: Annotated[
        Path | None,
        typer.Option(help="Default: named after the hardware, in the results.", metavar="FILE"),
    ] = None,
    study: StudyOption = None,
    set_: SetOption = None,
) -> None:
    """Time training and inference of all methods on this machine (Table 5); needs no images."""
    from naslora.timing.measure import time_methods

    _say("timing", time_methods(_study(study, set_), output, typer.echo))


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
    from naslora.report.tables.parameters import count_parameters, counts_text

    variants = _study(study, set_).variants
    typer.echo(counts_text(count_parameters(backbone, variants), format_), nl=False)


@app.command()
def table(
    names: Annotated[
        list[str], typer.Argument(help="Tables, e.g. table1; or all.", metavar="NAME")
    ],
    study: StudyOption = None,
    set_: SetOption = None,
) -> None:
    """Write tables from records: CSV, Markdown and LaTeX."""
    from naslora.report.tables.products import write_tables

    for path in write_tables(_study(study, set_), names):
        _say("table", path)


@app.command()
def figure(
    names: Annotated[
        list[str], typer.Argument(help="Figures, e.g. figure3, or all.", metavar="NAME")
    ],
    study: StudyOption = None,
    set_: SetOption = None,
) -> None:
    """Draw figures from records and adapter weights."""
    from naslora.report.figures.catalogue import write_figures

    for path in write_figures(_study(study, set_), names):
        _say("figure", path)


@app.command()
def report(study: StudyOption = None, set_: SetOption = None) -> None:
    """Write report.html: all tables, figures, claims and runs in one file, for any browser."""
    from naslora.report.page.build import write_report

    _say("report", write_report(_study(study, set_)))


@app.command()
def audit(study: StudyOption = None, set_: SetOption = None) -> None:
    """Print the paper's claims, the arithmetic of its own numbers, and what was measured here."""
    from naslora.report.claims.audit import audit_claims, claims_markdown
    from naslora.results.aggregate import aggregate

    settings = _study(study, set_)
    typer.echo(claims_markdown(settings, audit_claims(settings, aggregate(settings))), nl=False)


def main() -> None:
    """Run the command line; show a `NasloraError` as one message and exit with its code."""
    if threading.current_thread() is threading.main_thread():
        # A scheduler's warning that time is running out: training saves itself, others go on.
        signal.signal(signal.SIGUSR1, lambda number, frame: None)
    try:
        app()
    except NasloraError as error:
        typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
        sys.exit(error.exit_code)
