"""Commands for user-supplied images."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from naslora.cli.app import OWN, SeedOption, SetOption, app, echo_path

if TYPE_CHECKING:
    from naslora.own.study import FitOptions


Crowd = Literal["void", "foreground"]


class Save(StrEnum):  # a list of Literal is not supported by typer
    """Outputs of `predict`."""

    mask = "mask"
    probability = "probability"
    overlay = "overlay"
    coco = "coco"


DataArgument = Annotated[
    Path,
    typer.Argument(
        help="A folder with images/ and masks/, a CSV file (image, mask), or a COCO JSON file.",
        metavar="DATA",
    ),
]
OutOption = Annotated[
    Path, typer.Option("--out", "-o", help="Folder for the results.", metavar="DIR")
]
BackboneOption = Annotated[
    str, typer.Option(help="tiny, small (shipped weights); vit_b, vit_l, vit_h (Meta's).")
]
ClassesOption = Annotated[
    str | None, typer.Option(help="Class names: road, or background,leaf,spot.", metavar="A,B,...")
]
IgnoreOption = Annotated[int | None, typer.Option(help="Mask value to ignore.", metavar="VALUE")]
ValuesOption = Annotated[
    str | None,
    typer.Option(
        help="What mask values mean, e.g. 128-255=road, or colours: #ff0000=road.",
        metavar="VALUE=CLASS,...",
    ),
]
ResizeOption = Annotated[
    bool, typer.Option("--resize-masks", help="Resize masks to their images' size.")
]
TestShareOption = Annotated[
    float, typer.Option(help="Share of the images held out for testing; 0 for none.")
]
ValShareOption = Annotated[float, typer.Option(help="Share held out for validation.")]
CrowdOption = Annotated[
    Crowd, typer.Option(help="How to treat COCO's crowds (iscrowd): void or foreground.")
]
NameOption = Annotated[
    str | None,
    typer.Option(help="Name of the data set. Default: that of the folder or file.", metavar="NAME"),
]
SizeOption = Annotated[
    int | None, typer.Option(help="Side that images are resized to.", metavar="PIXELS")
]
CheckpointOption = Annotated[
    str | None, typer.Option(help="A SAM to start from instead of the backbone's.", metavar="FILE")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
MethodFileOption = Annotated[
    Path | None, typer.Option(help="File of a method from outside the package.", metavar="FILE")
]
EpochsOption = Annotated[int | None, typer.Option(help="Maximum number of epochs.")]


def _options(
    backbone: str,
    image_size: int | None,
    checkpoint: str | None,
    epochs: int | None,
    seed: int,
    classes: str | None,
    ignore: int | None,
    mask_values: str | None,
    resize_masks: bool,
    test_share: float,
    val_share: float,
    crowd: Crowd,
    name: str | None,
    set_: list[str] | None,
) -> FitOptions:
    from naslora.core.validation import readable_errors
    from naslora.data.own import OwnOptions
    from naslora.own.study import FitOptions
    from naslora.study.settings import parse_overrides

    given = {
        "classes": classes,
        "ignore": ignore,
        "mask_values": mask_values,
        "resize_masks": resize_masks,
        "test_share": test_share,
        "val_share": val_share,
        "crowd": crowd,
        "name": name,
    }
    with readable_errors("invalid options", OwnOptions):
        own = OwnOptions.model_validate({k: v for k, v in given.items() if v is not None})
    return FitOptions(
        backbone=backbone,
        image_size=image_size,
        checkpoint=checkpoint,
        epochs=epochs,
        seed=seed,
        data=own,
        overrides=parse_overrides(set_ or []),
    )


@app.command(rich_help_panel=OWN)
def example(
    folder: Annotated[Path, typer.Argument(help="A new folder.", metavar="DIR")],
    task: Annotated[str, typer.Option(help="The benchmark that the images imitate.")] = "leaf",
    count: Annotated[int, typer.Option(min=1, help="Number of images.")] = 60,
) -> None:
    """Generate a small folder of images and masks, to try the other commands on."""
    from naslora.own.example import write_example

    echo_path(f"{len(write_example(folder, task, count))} images with masks", folder)


@app.command(rich_help_panel=OWN)
def fit(
    data: DataArgument,
    out: OutOption,
    method: Annotated[str, typer.Option(help="A method, or the file of one.")] = "nas_pc_lora",
    backbone: BackboneOption = "tiny",
    image_size: SizeOption = None,
    checkpoint: CheckpointOption = None,
    epochs: EpochsOption = None,
    seed: SeedOption = 0,
    classes: ClassesOption = None,
    ignore: IgnoreOption = None,
    mask_values: ValuesOption = None,
    resize_masks: ResizeOption = False,
    test_share: TestShareOption = 0.2,
    val_share: ValShareOption = 0.15,
    crowd: CrowdOption = "void",
    name: NameOption = None,
    set_: SetOption = None,
) -> None:
    """Adapt a SAM to images of your own: split, train, evaluate, report."""
    from naslora.own.fit import fit as fit_images

    options = _options(
        backbone, image_size, checkpoint, epochs, seed, classes, ignore, mask_values,
        resize_masks, test_share, val_share, crowd, name, set_,
    )  # fmt: skip
    done = fit_images(data, out, method, options, typer.echo)
    echo_path("run", done.folder)
    echo_path("report", done.report)


@app.command(rich_help_panel=OWN)
def compare(
    data: DataArgument,
    out: OutOption,
    methods: Annotated[
        str, typer.Option(help="Methods, separated by commas.")
    ] = "lora,nas_pc_lora",
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds per method.")] = 3,
    profile: Annotated[
        str, typer.Option(help="local, slurm, or a Snakemake profile of your own.")
    ] = "local",
    backbone: BackboneOption = "tiny",
    image_size: SizeOption = None,
    checkpoint: CheckpointOption = None,
    epochs: EpochsOption = None,
    classes: ClassesOption = None,
    ignore: IgnoreOption = None,
    mask_values: ValuesOption = None,
    resize_masks: ResizeOption = False,
    test_share: TestShareOption = 0.2,
    val_share: ValShareOption = 0.15,
    crowd: CrowdOption = "void",
    name: NameOption = None,
    set_: SetOption = None,
) -> None:
    """Compare methods on images of your own, and name the winner if there is one."""
    from naslora.own.compare import compare as compare_methods

    options = _options(
        backbone, image_size, checkpoint, epochs, 0, classes, ignore, mask_values,
        resize_masks, test_share, val_share, crowd, name, set_,
    )  # fmt: skip
    names = [name.strip() for name in methods.split(",")]
    compare_methods(data, out, names, range(seeds), options, profile, typer.echo)


@app.command(rich_help_panel=OWN)
def predict(
    run: Annotated[
        Path, typer.Argument(help="A run's folder, or its adapter.safetensors.", metavar="RUN")
    ],
    images: Annotated[
        list[Path],
        typer.Argument(help="Images, or folders, searched recursively.", metavar="IMAGE"),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for masks.", metavar="DIR")],
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
            help="For pixels with more than 8 bits: auto (one range for all images), image (a range"
            " per image), type (the whole range of the type), or LOW,HIGH.",
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
    device: DeviceOption = "auto",
    method_file: MethodFileOption = None,
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
        training_side=loaded.training_side,
        rescale=rescale,
        overwrite=overwrite,
    )
    written = predict_files(to_device(loaded.sam, device), images, out, options, typer.echo)
    echo_path(f"{len(written)} files", out)


@app.command(rich_help_panel=OWN)
def demo(
    run: Annotated[
        Path, typer.Argument(help="A run's folder, or its adapter.safetensors.", metavar="RUN")
    ],
    port: Annotated[int | None, typer.Option(help="Default: the first free port.")] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="The SAM that the run started from, if it is not found.", metavar="FILE"),
    ] = None,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")
    ] = True,
    device: DeviceOption = "auto",
    method_file: MethodFileOption = None,
) -> None:
    """Show predictions of a run in the browser: drop an image, see its mask."""
    from naslora.evaluation.predict import to_device
    from naslora.evaluation.runs import load_run
    from naslora.methods.registry import load_method_files
    from naslora.own.demo import serve_demo

    load_method_files([method_file] if method_file else [])
    loaded = load_run(run, checkpoint)
    to_device(loaded.sam, device)
    serve_demo(loaded, run.absolute(), port, browser)
