"""Loading a trained run: its adapter, and the SAM that it was trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

import naslora.sam
from naslora.core.errors import CheckpointError, StateError
from naslora.methods.adapter_file import read_metadata
from naslora.methods.state import load_adapted_sam
from naslora.sam.building import Sam

WEIGHTS = Path(naslora.sam.__file__).parent / "weights"
ADAPTER_NAME = "adapter.safetensors"
_CHECKPOINTS = (".pth", ".pt", ".safetensors")


@dataclass(frozen=True)
class LoadedRun:
    """A trained run, ready for inference.

    Attributes:
        sam: adapted, in evaluation mode; on the CPU until it is moved.
        training_side: median of the longer sides in pixels of the images that it was trained on;
            None if the adapter file does not say.
    """

    sam: Sam
    training_side: int | None = None


def load_run(run: Path, checkpoint: Path | None = None) -> LoadedRun:
    """Load a run.

    Args:
        run: the folder of a run, or the adapter file in it.
        checkpoint: the SAM that it was trained on; by default it is looked for in the run's folder
            and the folders above, in `data/checkpoints`, and among the weights of this package.

    Raises:
        StateError: there is no adapter, or it is damaged.
        CheckpointError: the SAM is missing, or is not the one that the run was trained on.
    """
    adapter = run / ADAPTER_NAME if run.is_dir() else run
    if not adapter.is_file():
        raise StateError(
            f"there is no {ADAPTER_NAME} here" if run.is_dir() else "there is no such run",
            where=run.absolute(),
            remedy="give the folder of a trained run, or its adapter file",
        )
    metadata = read_metadata(adapter)
    if checkpoint is not None:
        return LoadedRun(load_adapted_sam(adapter, checkpoint), metadata.image_side)
    try:  # a method that starts from random weights
        return LoadedRun(load_adapted_sam(adapter), metadata.image_side)
    except CheckpointError as error:
        missing = error
    name = metadata.base.file if metadata.base else None
    tried = []
    for candidate in sorted(_candidates(adapter), key=lambda path: path.name != name):
        try:
            return LoadedRun(load_adapted_sam(adapter, candidate), metadata.image_side)
        except (CheckpointError, StateError) as error:
            tried.append(f"{candidate}: {error.what}")
    raise CheckpointError(
        f"{missing.what}, and no matching checkpoint was found: "
        + ("; ".join(tried) or "no file to try"),
        where=adapter.absolute(),
        remedy="give the SAM that the run was trained on with --checkpoint",
    )


def _candidates(adapter: Path) -> Iterator[Path]:
    """Files that may be the SAM that a run was trained on, likely ones first."""
    settings = adapter.absolute().parent / "study.yaml"  # of `naslora fit`
    if settings.is_file():
        try:
            found = yaml.safe_load(settings.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError):
            found = None  # damaged; the other places are still searched
        named = found.get("sam.checkpoint") if isinstance(found, dict) else None
        if isinstance(named, str) and Path(named).is_file():
            yield Path(named)
    folders = [adapter.absolute().parent]
    for parent in adapter.absolute().parents[:6]:
        folders += [parent / "backbone", parent / "data" / "checkpoints"]
    folders += [Path("data/checkpoints").absolute(), WEIGHTS]
    for folder in dict.fromkeys(folders):
        if folder.is_dir():
            yield from (
                path
                for path in sorted(folder.iterdir())
                if path.suffix in _CHECKPOINTS and path.name != ADAPTER_NAME
            )
