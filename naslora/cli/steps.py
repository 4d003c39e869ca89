"""Commands for the single steps of a study, for the workflow and for use by hand."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from naslora.cli.app import (
    STEPS,
    SeedOption,
    SetOption,
    StudyOption,
    TaskOption,
    VariantOption,
    app,
    echo_path,
    load,
)
from naslora.core.errors import DivergedError
from naslora.study.layout import Layout


@app.command(rich_help_panel=STEPS)
def generate(task: TaskOption, study: StudyOption = None, set_: SetOption = None) -> None:
    """Generate a task's images, in the official archive layout."""
    from naslora.data.generated import generate_archives

    for archive in generate_archives(load(study, set_), task):
        echo_path("generated", archive)


@app.command(rich_help_panel=STEPS)
def data(
    study: StudyOption = None,
    set_: SetOption = None,
    repin: Annotated[
        list[str] | None,
        typer.Option(
            help="Pin the present file instead of the one that was pinned at first use.",
            metavar="ARCHIVE",
        ),
    ] = None,
) -> None:
    """Find, download and verify all archives of a study; list everything that is missing."""
    from naslora.data.archives.acquire import acquire, check_complete

    settings = load(study, set_)
    words = ["naslora", "data", "--study", settings.study]
    words += [word for pair in set_ or [] for word in ("--set", pair)]
    outcomes = acquire(settings, log=typer.echo, repinned=repin or [])
    check_complete(outcomes, settings, shlex.join(words))


@app.command(rich_help_panel=STEPS)
def prepare(task: TaskOption, study: StudyOption = None, set_: SetOption = None) -> None:
    """Find, verify, unpack, audit and split a task's images; write its manifest."""
    from naslora.data.prepare import prepare as prepare_task

    settings = load(study, set_)
    manifest = prepare_task(settings, task)
    layout = Layout.of(settings)
    echo_path("audit", layout.audit(task).with_suffix(".md"))
    echo_path(f"{len(manifest.samples)} images", layout.manifest(task))


@app.command(rich_help_panel=STEPS)
def fetch(
    study: StudyOption = None,
    set_: SetOption = None,
    backbone: Annotated[str | None, typer.Option(help="Default: the study's backbone.")] = None,
) -> None:
    """Find or download the official SAM checkpoint, and check it."""
    from naslora.sam.official import fetch_checkpoint

    sam = load(study, set_).sam
    if backbone is None and sam.checkpoint != "official":
        typer.echo(
            f"nothing to fetch: sam.checkpoint is {sam.checkpoint}, not official"
            " (--backbone vit_b fetches Meta's file all the same)"
        )
        return
    echo_path("checkpoint", fetch_checkpoint(backbone or sam.backbone, sam.checkpoints))


@app.command(rich_help_panel=STEPS)
def pretrain(
    study: StudyOption = None,
    set_: SetOption = None,
    publish: Annotated[
        Path | None,
        typer.Option(
            help="Do not train: write the trained weights to this folder, in float16, with a card"
            " of their scores.",
            metavar="FOLDER",
        ),
    ] = None,
) -> None:
    """Train a small backbone with prompts on generated scenes, as SAM was trained."""
    settings = load(study, set_)
    if publish is not None:
        from naslora.training.pretraining.publishing import publish as publish_weights

        echo_path("weights", publish_weights(settings, publish))
        return
    from naslora.training.pretraining.run import pretrain as pretrain_backbone

    pretrain_backbone(settings)
    echo_path("backbone", Layout.of(settings).backbone())


@app.command(rich_help_panel=STEPS)
def train(
    task: TaskOption,
    variant: VariantOption,
    seed: SeedOption = 0,
    study: StudyOption = None,
    set_: SetOption = None,
    record_divergence: Annotated[
        bool,
        typer.Option(
            "--record-divergence", help="Exit with 0 if training diverges; the receipt says so."
        ),
    ] = False,
) -> None:
    """Train one method on one task; write adapter weights and a receipt."""
    from naslora.training.train import train as train_run

    settings = load(study, set_)
    receipt = Layout.of(settings).receipt(task, variant, seed)
    try:
        train_run(settings, task, variant, seed)
    except DivergedError as error:
        if not record_divergence:
            raise
        typer.echo(str(error))
    echo_path("receipt", receipt)


@app.command(rich_help_panel=STEPS)
def evaluate(
    task: TaskOption,
    variant: VariantOption,
    seed: SeedOption = 0,
    study: StudyOption = None,
    set_: SetOption = None,
) -> None:
    """Evaluate a trained run on its test sets; write its record."""
    from naslora.evaluation.evaluate import evaluate as evaluate_run

    settings = load(study, set_)
    evaluate_run(settings, task, variant, seed)
    echo_path("record", Layout.of(settings).record(task, variant, seed))


@app.command(rich_help_panel=STEPS)
def batch(
    task: TaskOption,
    seed: Annotated[list[int] | None, typer.Option(help="Default: all seeds of the study.")] = None,
    study: StudyOption = None,
    set_: SetOption = None,
) -> None:
    """Train and evaluate all methods and variants on a task, in one process.

    Results that are up to date are kept. Controls and analyses belong to the first seed.
    """
    from naslora.workflow.batch import run_batch

    settings = load(study, set_)
    seeds = seed or settings.seeds
    failed = run_batch(settings, task, seeds, lambda text: print(text, flush=True))
    if failed:
        typer.echo(f"failed, see above: {'; '.join(failed)}", err=True)
        raise typer.Exit(1)


@app.command(rich_help_panel=STEPS)
def controls(task: TaskOption, study: StudyOption = None, set_: SetOption = None) -> None:
    """Evaluate the four predictions that do not use the image, such as the mean training mask."""
    from naslora.evaluation.controls import evaluate_controls

    for path in evaluate_controls(load(study, set_), task):
        echo_path("record", path)


@app.command(rich_help_panel=STEPS)
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

    settings = load(study, set_)
    done = analyse_model(settings, model, task, seed)
    echo_path("analysis", Layout.of(settings).analysis(done.task, done.model, done.seed))


@app.command("time", rich_help_panel=STEPS)
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

    echo_path("timing", time_methods(load(study, set_), output, typer.echo))
