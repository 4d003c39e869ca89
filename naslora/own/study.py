"""The study that adapts a SAM to user-supplied images."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from pydantic import Field

from naslora.core.errors import SettingsError
from naslora.core.files import write_text
from naslora.core.validation import Settings
from naslora.data.benchmarks.contract import BENCHMARKS
from naslora.data.own import OwnOptions, own_data
from naslora.planning.resolve import check_settings
from naslora.sam.backbones import BACKBONES
from naslora.study.nested import nest
from naslora.study.settings import Study, load_study
from naslora.training.hardware import best_device, defaults_for
from naslora.training.initial import check_decoder

STUDY = "own"
_SETTINGS = "study.yaml"
# Mask tokens in addition to the largest number of classes in one image: a class may have several
# regions.
_SPARE_TOKENS = 4
_LEAST_TOKENS = 10
_SIZES = {"small": 256, "tiny": 96}  # sizes in pixels that their weights were trained at
_OFFICIAL_SIZE = 1024
_REDUCED_SIZE = 512
# Settings that are chosen by the hardware. The accelerator stays "auto".
_OF_HARDWARE = (
    "training.precision",
    "training.batch_size",
    "training.gradient_checkpointing",
    "training.threads",
    "training.workers",
    "sam.image_size",
)


class FitOptions(Settings):
    """Options of `fit` and `compare`.

    Attributes:
        backbone: vit_h, vit_l and vit_b start from Meta's checkpoint, small and tiny from weights
            that this package ships.
        image_size: side of the square that images are resized to; by default the backbone's own
            (1024 for vit_*, 256 for small, 96 for tiny), or 512 for vit_* on a CPU or where the
            memory is too small for 1024.
        checkpoint: a SAM to start from instead: official, shipped or a file.
        epochs, learning_rate: of training; by default as `own.yaml` says.
        batch_size: by default 4, or less where the memory is too small.
        seed: of the run, and of the split of the images.
        data: what the files do not show by themselves.
        overrides: further settings of the study, by dotted names.
    """

    backbone: str = "tiny"
    image_size: int | None = None
    checkpoint: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    seed: int = 0
    data: OwnOptions = OwnOptions()
    overrides: dict[str, Any] = Field(default_factory=dict)


def make_study(
    data: Path,
    out: Path,
    methods: Sequence[str],
    seeds: Sequence[int],
    options: FitOptions,
    log: Callable[[str], None],
    *,
    here: bool = True,
    threads: bool = True,
) -> tuple[Study, dict[str, Any]]:
    """Interpret the images, and make a study with them as its only task.

    The folder `out` keeps the task's description and the settings. If both are there already, they
    must be the same: the study then resumes where it stopped.

    Args:
        data: a folder, a CSV file or a COCO JSON file; see `naslora.data.own.own_data`.
        out: the folder of the study.
        methods: by name, or the files of methods from outside the package.
        seeds: of the runs.
        options: all other options.
        log: called with lines to print.
        here: runs are trained on this machine, and its hardware decides on precision, batch size
            and image size; otherwise `own.yaml` does.
        threads: a run may use all cores of this machine.

    Returns:
        The study, and the settings that make it, for Snakemake.

    Raises:
        AuditError: the images are not a data set, or masks are ambiguous.
        SettingsError: a setting is invalid, or `out` holds a study with other images or settings.
    """
    options = options.model_copy(update={"backbone": _backbone(options)})
    if options.backbone not in BACKBONES:
        raise SettingsError(
            f"no backbone {options.backbone!r}", remedy=f"choose one of {', '.join(BACKBONES)}"
        )
    if options.checkpoint == "random":
        raise SettingsError(
            "a run from random weights cannot be loaded again without them",
            remedy="take the method scratch, or another checkpoint",
        )
    benchmark, lines = own_data(data, options.data, options.seed)
    for line in lines:
        log(line)
    out = out.absolute()
    most_classes = benchmark.description.most_classes
    settings = _settings(options, out, methods, seeds, most_classes)
    if here:
        settings = {**_hardware(out, options, settings, threads, log), **settings}
    settings.setdefault("sam.image_size", _SIZES.get(options.backbone, _OFFICIAL_SIZE))
    with BENCHMARKS.undone_on_error():
        # Nothing is written to `out` if settings are wrong.
        with tempfile.TemporaryDirectory() as folder:
            tried = _load(settings, benchmark.save(Path(folder)))
        check_decoder(tried.sam, len(benchmark.classes), most_classes)
        _check_same(out, benchmark.name, benchmark.text(), settings)
        write_text(out / _SETTINGS, yaml.safe_dump(settings, sort_keys=False))
        file = benchmark.save(out)
        return _load(settings, file), {**settings, "tasks": [str(file)]}


def _backbone(options: FitOptions) -> str:
    """The backbone; `sam.backbone` among the overrides wins, as every setting there does."""
    sam = nest(options.overrides.items()).get("sam")
    return str(sam.get("backbone", options.backbone) if isinstance(sam, dict) else options.backbone)


def _load(settings: Mapping[str, Any], task: Path) -> Study:
    """The study of the task that a file describes, checked."""
    # Another folder may have had a task of this name, in the same process.
    BENCHMARKS.load_file(task, replacing=True)
    study = load_study(STUDY, {**settings, "tasks": [str(task)]})
    check_settings(study)
    return study


def _settings(
    options: FitOptions, out: Path, methods: Sequence[str], seeds: Sequence[int], classes: int
) -> dict[str, Any]:
    """The settings that differ from those of the study `own`."""
    official = BACKBONES[options.backbone].checkpoint is not None
    settings: dict[str, Any] = {
        "results": str(out),
        "methods": list(methods),
        "seeds": list(seeds),
        "sam.backbone": options.backbone,
        "sam.checkpoint": _checkpoint(options.checkpoint)
        or ("official" if official else "shipped"),
        "sam.mask_tokens": max(_LEAST_TOKENS, classes + _SPARE_TOKENS),
        "data.split_seed": options.seed,
    }
    if official:  # the paper's rate, for large backbones
        settings |= {"training.learning_rate": 1e-4}
    chosen = {
        "sam.image_size": options.image_size,
        "training.epochs": options.epochs,
        "training.batch_size": options.batch_size,
        "training.learning_rate": options.learning_rate,
    }
    settings |= {key: value for key, value in chosen.items() if value is not None}
    if options.epochs is not None:  # in proportion to the paper's 10 of 40
        settings["training.architecture.start_epoch"] = options.epochs // 4
    return {**settings, **options.overrides}


def _hardware(
    out: Path,
    options: FitOptions,
    settings: Mapping[str, Any],
    threads: bool,
    log: Callable[[str], None],
) -> dict[str, Any]:
    """Settings that fit this machine; those of an earlier call, if `out` holds them."""
    before = _saved_settings(out)
    if before is not None:
        return {key: before[key] for key in _OF_HARDWARE if key in before}
    device = best_device()
    if settings.get("training.accelerator", "auto") == "cpu":
        device = torch.device("cpu")
    sizes = [_SIZES.get(options.backbone, _OFFICIAL_SIZE)]
    if "sam.image_size" in settings:
        if not _is_size(settings["sam.image_size"], options.backbone):
            return {}  # the study is refused when it is loaded
        sizes = [int(settings["sam.image_size"])]
    elif options.backbone not in _SIZES:  # by the memory, and by the time that a CPU takes
        sizes = [_REDUCED_SIZE] if device.type == "cpu" else [*sizes, _REDUCED_SIZE]
    found = [(size, defaults_for(device, options.backbone, size)) for size in sizes]
    size, chosen = next((pair for pair in found if pair[1].fits), found[-1])
    values = {f"training.{key}": value for key, value in chosen.settings().items()}
    values = {key: values[key] for key in _OF_HARDWARE if key in values}
    if not threads or not BACKBONES[options.backbone].multithreaded:
        del values["training.threads"]
    merged = {**values, "sam.image_size": size, **settings}
    log(
        f"{device.type}: images of {merged['sam.image_size']} px, batches of"
        f" {merged['training.batch_size']}, precision {merged['training.precision']}"
        + (", gradient checkpointing" if merged["training.gradient_checkpointing"] else "")
    )
    if not chosen.fits:
        log(
            f"warning: training may need {chosen.needed_bytes / 1e9:.0f} GB of memory, and"
            f" {chosen.available_bytes / 1e9:.0f} GB are free: a smaller --image-size or --backbone"
            " needs less"
        )
    return {**values, "sam.image_size": size}


def _is_size(size: Any, backbone: str) -> bool:
    """Whether a backbone takes square images of a size."""
    try:
        BACKBONES[backbone].grid((size, size))
    except (TypeError, ValueError):
        return False
    return True


def _saved_settings(out: Path) -> dict[str, Any] | None:
    """The settings that an earlier call has left in `out`; None where there are none.

    Raises:
        SettingsError: the file is damaged.
    """
    path = out / _SETTINGS
    if not path.is_file():
        return None
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        content = None
    if not isinstance(content, dict):
        raise SettingsError(
            "the settings of the run in this folder are damaged",
            where=path,
            remedy="choose another --out",
        )
    return content


def _checkpoint(setting: str | None) -> str | None:
    """A setting, with the path of a file made absolute."""
    if setting in (None, "official", "shipped"):
        return setting
    return str(Path(str(setting)).absolute())


def _check_same(out: Path, task: str, described: str, settings: Mapping[str, Any]) -> None:
    """Refuse to resume a study with other images or settings.

    Raises:
        SettingsError: `out` holds such a study, or other files.
    """
    old_task, before = out / f"{task}.py", _saved_settings(out)
    if before is None:
        if out.is_dir() and any(out.iterdir()):
            raise SettingsError(
                "this folder is not empty, and does not contain a run to resume",
                where=out,
                remedy="choose another --out",
            )
        return
    differing = sorted(
        key
        for key in {*before, *settings}
        if key != "results" and before.get(key) != settings.get(key)
    )
    if differing:
        raise SettingsError(
            f"this folder holds a run with other settings: {', '.join(differing)}",
            where=out,
            remedy="choose another --out, or repeat the command that made it",
        )
    if not old_task.is_file() or old_task.read_text(encoding="utf-8") != described:
        raise SettingsError(
            "this folder holds a run on other images, or on images that have changed since",
            where=out,
            remedy="choose another --out",
        )
