"""Commands for images of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from naslora.cli.app import (
    OWN,
    app,
    say,
)


@app.command(rich_help_panel=OWN)
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
    say(f"{len(masks)} masks", output)
