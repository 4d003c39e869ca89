"""The study that adapts a SAM to images of one's own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from naslora.core.errors import SettingsError
from naslora.core.files import write_text
from naslora.core.validation import Settings
from naslora.data.benchmarks.contract import BENCHMARKS
from naslora.data.own import OwnOptions, own_data
from naslora.planning.resolve import check_settings
from naslora.sam.backbones import BACKBONES
from naslora.study.settings import Study, load_study

STUDY = "own"
_SETTINGS = "study.yaml"
# Mask tokens beyond the largest number of classes in one image: regions of one class may be apart.
_SPARE_TOKENS = 4
_LEAST_TOKENS = 10


class FitOptions(Settings):
    """How to adapt a SAM to images of one's own.

    Attributes:
        backbone: vit_h, vit_l and vit_b start from Meta's checkpoint, small and tiny from weights
            that this package ships.
        image_size: side of the square that images are resized to; by default the backbone's own
            (1024 for vit_*, 256 for small, 128 for tiny).
        checkpoint: a SAM to start from instead: official, shipped or a file.
        epochs, batch_size, learning_rate: of training; by default as `own.yaml` says.
        seed: of the run, and of the split of the images.
        data: what the files alone do not show.
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
    tell: Callable[[str], None],
) -> tuple[Study, dict[str, Any]]:
    """Understand the images, and make the study of the one task that they are.

    The folder `out` keeps the task's description and the settings. If both are there already, they
    must be the same: the study then goes on where it stopped.

    Args:
        data: a folder, a CSV file or a COCO JSON file; see `naslora.data.own.own_data`.
        out: the folder of the study.
        methods: by name, or the files of methods from outside the package.
        seeds: of the runs.
        options: the rest.
        tell: called with lines for people.

    Returns:
        The study, and the settings that make it, for Snakemake.

    Raises:
        AuditError: the images are no data set, or masks are ambiguous.
        SettingsError: a setting is invalid, or `out` holds a study of other images or settings.
    """
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
        tell(line)
    out = out.absolute()
    settings = _settings(options, out, methods, seeds, benchmark.description.most_classes)
    with tempfile.TemporaryDirectory() as folder:  # so that nothing is written for wrong settings
        _load(settings, benchmark.save(Path(folder)))
    _check_same(out, benchmark.name, benchmark.text(), settings)
    write_text(out / _SETTINGS, yaml.safe_dump(settings, sort_keys=False))
    file = benchmark.save(out)
    return _load(settings, file), {**settings, "tasks": [str(file)]}


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
    """The deltas to the study `own`."""
    official = BACKBONES[options.backbone].checkpoint is not None
    size = {"small": 256, "tiny": 128}.get(options.backbone, 1024)
    settings: dict[str, Any] = {
        "results": str(out),
        "methods": list(methods),
        "seeds": list(seeds),
        "sam.backbone": options.backbone,
        "sam.image_size": options.image_size or size,
        "sam.checkpoint": _checkpoint(options.checkpoint)
        or ("official" if official else "shipped"),
        "sam.mask_tokens": max(_LEAST_TOKENS, classes + _SPARE_TOKENS),
        "data.split_seed": options.seed,
    }
    if official:  # the paper's rate, for large backbones
        settings |= {"training.learning_rate": 1e-4}
    chosen = {
        "training.epochs": options.epochs,
        "training.batch_size": options.batch_size,
        "training.learning_rate": options.learning_rate,
    }
    settings |= {key: value for key, value in chosen.items() if value is not None}
    if options.epochs is not None:  # as many of them as the paper's 10 of 40
        settings["training.architecture.start_epoch"] = options.epochs // 4
    return {**settings, **options.overrides}


def _checkpoint(setting: str | None) -> str | None:
    """A setting, with the path of a file made absolute."""
    if setting in (None, "official", "shipped"):
        return setting
    return str(Path(str(setting)).absolute())


def _check_same(out: Path, task: str, described: str, settings: Mapping[str, Any]) -> None:
    """Refuse to go on with a study of other images or settings.

    Raises:
        SettingsError: `out` holds one.
    """
    old_task, old_settings = out / f"{task}.py", out / _SETTINGS
    if not old_settings.is_file():
        if out.is_dir() and any(out.iterdir()):
            raise SettingsError(
                "this folder is not empty, and holds no run to go on with",
                where=out,
                remedy="choose another --out",
            )
        return
    before = yaml.safe_load(old_settings.read_text(encoding="utf-8")) or {}
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
