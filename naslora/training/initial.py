"""The SAM that a study's methods start from."""

from __future__ import annotations

from pathlib import Path

from naslora.core.errors import SettingsError
from naslora.methods.registry import seeded_init
from naslora.sam.building import Sam, build_sam
from naslora.sam.checkpoints import find_checkpoint, load_checkpoint
from naslora.study.layout import Layout
from naslora.study.sections import SamSettings
from naslora.study.settings import Study


def initial_sam(
    study: Study,
    *,
    classes: int,
    seed: int,
    pretrained: bool = True,
    most_classes: int | None = None,
) -> tuple[Sam, str | None]:
    """Build the study's SAM and load the checkpoint that its settings name.

    Weights that no checkpoint has (the class branch; all if the setting is `random`) are drawn from
    `seed` alone.

    Args:
        study: its `sam` settings say what to build and load.
        classes: 1 for a binary task, else the number of classes with the background.
        seed: seed of the initialisation.
        pretrained: whether to load the checkpoint at all.
        most_classes: the largest number of classes in one image, with the background, if known.

    Returns:
        The SAM, and the checkpoint's SHA-256, or None if none was loaded.

    Raises:
        SettingsError: see `check_decoder`.
        CheckpointError: the checkpoint is missing, damaged or of another architecture.
    """
    settings = study.sam
    check_decoder(settings, classes, most_classes)
    with seeded_init(seed):
        sam = build_sam(
            settings.backbone,
            settings.image_size,
            classes=classes,
            mask_tokens=settings.mask_tokens,
            hypernetworks=settings.hypernetworks,
            decoder=settings.decoder,
            attention=settings.attention,
        )
        if not pretrained or settings.checkpoint == "random":
            return sam, None
        return sam, load_checkpoint(sam, checkpoint_of(study), settings.checkpoints)


def checkpoint_of(study: Study) -> Path:
    """The file of the weights that the study's runs start from.

    Raises:
        CheckpointError: it is missing, or not the one that its name stands for.
    """
    settings = study.sam
    if settings.checkpoint == "pretrained":
        return Layout.of(study).backbone()
    return find_checkpoint(settings.checkpoint, settings.backbone, settings.checkpoints)


def check_decoder(settings: SamSettings, classes: int, most_classes: int | None = None) -> None:
    """Check that the mask decoder of the settings can give every class of an image a mask.

    Args:
        settings: of the SAM.
        classes: 1 for a binary task, else the number of classes with the background.
        most_classes: the largest number of classes in one image, if known.

    Raises:
        SettingsError: the task has several classes, and the settings ask for fewer mask tokens
            than there are classes in one image, or for the original decoder.
    """
    least = 1 if classes == 1 else most_classes or 2
    if settings.mask_tokens < least:
        raise SettingsError(
            f"sam.mask_tokens is {settings.mask_tokens}, but up to {least} classes are in one "
            "image: the others would get neither a mask nor a loss",
            remedy="set it to at least the number of classes that an image can show",
        )
    if classes > 1 and settings.decoder == "original":
        raise SettingsError(
            "sam.decoder is original, which has no classes, and the task has several",
            remedy="set it to semantic, or leave out the tasks with several classes",
        )
