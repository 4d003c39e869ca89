"""Checks that a trained run's receipt matches the study's present settings, images and weights."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from naslora.core.errors import RecordError
from naslora.core.files import sha256
from naslora.study.layout import Layout
from naslora.study.records import Receipt, read_receipt
from naslora.study.settings import Study


def current_receipt(study: Study, task: str, variant: str, seed: int) -> Receipt:
    """The receipt of a run that was trained with the study's present settings.

    Raises:
        RecordError: it is missing or damaged, or the run was trained with other settings.
    """
    path = Layout.of(study).receipt(task, variant, seed)
    receipt = read_receipt(path)
    if receipt.fingerprint != study.run(task, variant, seed).fingerprint():
        raise RecordError(
            "this run was trained with other settings than the study has now",
            where=path,
            remedy=f"train it again: naslora train --study {study.study} --task {task} "
            f"--variant {variant} --seed {seed}",
        )
    return receipt


def is_trained(study: Study, task: str, variant: str, seed: int) -> bool:
    """Whether a run is trained with the study's present settings, images and starting weights."""
    layout = Layout.of(study)
    try:
        receipt = current_receipt(study, task, variant, seed)
    except RecordError:
        return False
    adapter = layout.adapter(task, variant, seed)
    manifest = layout.manifest(task)
    return (
        manifest.is_file()
        and sha256(manifest) == receipt.manifest_sha256
        and same_checkpoint(study, receipt, layout.receipt(task, variant, seed))
        and (
            receipt.adapter is None
            or (adapter.is_file() and sha256(adapter) == receipt.adapter.sha256)
        )
    )


def same_checkpoint(study: Study, receipt: Receipt, path: Path) -> bool:
    """Whether a run was trained from the present checkpoint file; True if there is none.

    A user's own checkpoint may be large: it is hashed only if it was modified after the receipt.

    Args:
        study: of the run.
        receipt: of the run.
        path: the receipt's file.
    """
    name = study.sam.checkpoint
    if name in ("official", "shipped", "random") or receipt.checkpoint_sha256 is None:
        return True
    file = Layout.of(study).backbone() if name == "pretrained" else Path(name)
    if not file.is_file():
        return True
    if name != "pretrained" and file.stat().st_mtime <= path.stat().st_mtime:
        return True
    return _sha256(file, file.stat().st_mtime_ns) == receipt.checkpoint_sha256


@cache
def _sha256(path: Path, mtime_ns: int) -> str:
    """The hash of a file, cached until its modification time changes."""
    return sha256(path)
