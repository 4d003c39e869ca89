"""Commands for images of one's own."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from naslora.cli.app import OWN, app, say


class Save(StrEnum):
    """What `predict` can write."""

    mask = "mask"
    probability = "probability"
    overlay = "overlay"
    coco = "coco"


@app.command(rich_help_panel=OWN)
def predict(
    run: Annotated[
        Path, typer.Argument(help="A run's folder, or its adapter.safetensors.", metavar="RUN")
    ],
    images: Annotated[
        list[Path],
        typer.Argument(help="Images, or folders of them with all below.", metavar="IMAGE..."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where masks go.", metavar="DIR")],
    save: Annotated[
        list[Save] | None,
        typer.Option(
            help="mask (default), probability, overlay, coco; repeatable.", metavar="WHAT"
        ),
    ] = None,
    tile: Annotated[
        int | None,
        typer.Option(
            help="Side of tiles in pixels, 0 for none. Default: tiles for an image of more than"
            " twice the size of the training images.",
            metavar="PIXELS",
        ),
    ] = None,
    rescale: Annotated[
        str,
        typer.Option(
            help="For pixels of more than 8 bits: auto (one range for all images), image (a range"
            " for each), type (the whole range of the type), or LOW,HIGH.",
            metavar="HOW",
        ),
    ] = "auto",
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="The SAM that the run started from. Default: found by its hash.", metavar="FILE"
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace older masks.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    method_file: Annotated[
        Path | None, typer.Option(help="Of a method from outside the package.", metavar="FILE")
    ] = None,
) -> None:
    """Predict masks of any images with a trained run."""
    from naslora.evaluation.predict import PredictOptions, predict_files, to_device
    from naslora.evaluation.runs import load_run
    from naslora.methods.registry import load_method_files

    load_method_files([method_file] if method_file else [])
    loaded = load_run(run, checkpoint)
    options = PredictOptions(
        products=tuple(dict.fromkeys(what.value for what in save or [Save.mask])),
        tile=tile,
        natural=loaded.natural_size,
        rescale=rescale,
        overwrite=overwrite,
    )
    written = predict_files(to_device(loaded.sam, device), images, out, options, typer.echo)
    say(f"{len(written)} files", out)
