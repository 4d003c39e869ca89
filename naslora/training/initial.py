"""The SAM that a study's methods start from."""

from __future__ import annotations

import torch

from naslora.core.errors import SettingsError
from naslora.sam.attention import set_attention_backend
from naslora.sam.building import Sam, build_sam
from naslora.sam.checkpoints import find_checkpoint, load_checkpoint
from naslora.study.layout import Layout
from naslora.study.settings import Study


def initial_sam(
    study: Study, *, classes: int, seed: int, pretrained: bool = True
) -> tuple[Sam, str | None]:
    """Build the study's SAM and load the checkpoint that its settings name.

    What no checkpoint fills (the class branch; everything where the setting is `random`) is drawn
    from `seed` alone. The setting of attention holds for the whole process from now on.

    Args:
        study: its `sam` settings say what to build and load.
        classes: 1 for a binary task, else the number of classes with the background.
        seed: seed of the initialisation.
        pretrained: whether to load the checkpoint at all.

    Returns:
        The SAM and the checkpoint's SHA-256, or None where none was loaded.

    Raises:
        SettingsError: several classes are to share one mask token.
        CheckpointError: the checkpoint is missing, damaged or of another architecture.
    """
    settings = study.sam
    if classes > 1 and settings.mask_tokens == 1:
        raise SettingsError(
            "sam.mask_tokens is 1: all pixels of an image would get one class",
            remedy="set it to at least the number of classes that an image can show",
        )
    set_attention_backend(settings.attention)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sam = build_sam(
            settings.backbone,
            settings.image_size,
            classes=classes,
            mask_tokens=1 if classes == 1 else settings.mask_tokens,
        )
        if not pretrained or settings.checkpoint == "random":
            return sam, None
        if settings.checkpoint == "pretrained":
            path = Layout.of(study).backbone()
        else:
            path = find_checkpoint(settings.checkpoint, settings.backbone, settings.checkpoints)
        return sam, load_checkpoint(sam, path)
