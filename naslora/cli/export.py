"""The command that exports a trained run for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from naslora.cli.app import OWN, app, echo_path


@app.command(rich_help_panel=OWN)
def export(
    run: Annotated[
        Path, typer.Argument(help="A run's folder, or its adapter.safetensors.", metavar="RUN")
    ],
    to: Annotated[
        Literal["meta", "peft", "onnx", "adapter"],
        typer.Option(
            help="meta: a checkpoint for Meta's segment_anything. peft: a folder for HF PEFT"
            " (LoRA, DoRA, VeRA). onnx: a model for onnxruntime. adapter: a folder with the"
            " adapter and a model card.",
            metavar="FORMAT",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="What to write.", metavar="PATH")],
    estimator: Annotated[
        Literal["centre", "sum", "least_squares"] | None,
        typer.Option(
            help="Merge NAS cells into plain layers, approximately: centre, sum or least_squares."
            " Prints the loss.",
            metavar="HOW",
        ),
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(help="Images or folders to measure this loss on.", metavar="PATH"),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="The SAM that the run started from. Default: found by its hash.", metavar="FILE"
        ),
    ] = None,
    method_file: Annotated[
        Path | None,
        typer.Option(help="File of a method from outside the package.", metavar="FILE"),
    ] = None,
) -> None:
    """Export a trained run for Meta's segment_anything, HF PEFT or ONNX, or to share it."""
    from naslora.export.exporting import export as write
    from naslora.methods.registry import load_method_files

    load_method_files([method_file] if method_file else [])
    written = write(
        run,
        to,
        out,
        checkpoint=checkpoint,
        estimator=estimator,
        images=images or [],
        log=typer.echo,
    )
    echo_path(to, written)
