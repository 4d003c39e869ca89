"""Finding a checkpoint by the setting `sam.checkpoint`; downloading and verifying Meta's."""

from __future__ import annotations

from pathlib import Path

from naslora.core.download import Download
from naslora.core.errors import CheckpointError
from naslora.core.files import sha256
from naslora.sam.backbones import OfficialCheckpoint, official_checkpoints
from naslora.sam.shipped import shipped_checkpoint


def find_checkpoint(setting: str, backbone: str, folder: Path) -> Path:
    """Find the file that the setting `sam.checkpoint` names.

    Args:
        setting: `official`, for Meta's file in `folder` under its own name; `shipped`, for the
            weights in this package; or a path.
        backbone: the backbone that it is for.
        folder: the folder of official checkpoints.

    Raises:
        CheckpointError: there is no such file, or the shipped one is damaged.
    """
    if setting == "shipped":
        return shipped_checkpoint(backbone)
    if setting == "official":
        known = official_checkpoint(backbone)
        path = folder / known.name
        if not path.is_file():
            raise CheckpointError(
                f"the official {backbone} checkpoint is missing: there is no {known.name}",
                where=folder,
                remedy=f"run `naslora fetch --backbone {backbone}`, or put {known.url} there",
            )
        return path
    path = Path(setting)
    if not path.is_file():
        raise CheckpointError(
            f"checkpoint not found: {path.name}",
            where=path,
            remedy="correct sam.checkpoint: official, shipped, pretrained, random, or an existing"
            " file",
        )
    return path


def fetch_checkpoint(
    backbone: str,
    folder: Path,
    *,
    attempts: int = 4,
    pause: float = 2.0,
    timeout: float = 60.0,
) -> Path:
    """Find an official checkpoint in a folder, or download it there; verify it either way.

    Args:
        backbone: vit_h, vit_l or vit_b.
        folder: where the file is, or is downloaded to.
        attempts: number of consecutive attempts without a new byte after which a download fails.
        pause: seconds before the second attempt; each later one waits twice as long.
        timeout: seconds without an answer after which a connection counts as broken.

    Returns:
        The file, complete and with the SHA-256 of Meta's file.

    Raises:
        CheckpointError: the backbone has no official file, the download fails, or the file is not
            Meta's.
        DiskError: the folder cannot be written to.
    """
    known = official_checkpoint(backbone)
    path = folder / known.name
    if path.is_file():
        check_hash(path, sha256(path), folder)
        return path
    Download(
        url=known.url,
        target=path,
        error=CheckpointError,
        by_hand="get it by other means and put it there",
        size=known.bytes,
        sha256=known.sha256,
        attempts=attempts,
        pause=pause,
        timeout=timeout,
    ).run()
    return path


def other_file(path: Path, folder: Path | None = None) -> str:
    """What to do about a checkpoint that cannot be used.

    Args:
        path: the file.
        folder: the folder of official checkpoints, where it is known.

    Returns:
        For an official file in that folder, to fetch it again; for any other file, to give another.
    """
    if folder is not None and path.absolute().parent == folder.absolute():
        for backbone, known in official_checkpoints().items():
            if known.name == path.name:
                return f"delete it and fetch it again: naslora fetch --backbone {backbone}"
    return "give another file: a SAM saved by torch.save or as safetensors"


def check_hash(path: Path, digest: str, folder: Path | None = None) -> None:
    """Compare the SHA-256 of a file that has the name of an official one.

    Args:
        path: the file.
        digest: its SHA-256.
        folder: the folder of official checkpoints, for the message.

    Raises:
        CheckpointError: they differ.
    """
    known = next((c for c in official_checkpoints().values() if c.name == path.name), None)
    if known is not None and digest != known.sha256:
        raise CheckpointError(
            f"{path.name} is damaged or not Meta's file: its SHA-256 begins with {digest[:6]}, "
            f"not with {known.sha256[:6]}",
            where=path,
            remedy=f"{other_file(path, folder)}; or rename it if it is a checkpoint of your own",
        )


def official_checkpoint(backbone: str) -> OfficialCheckpoint:
    """Meta's checkpoint of a backbone.

    Raises:
        CheckpointError: there is none.
    """
    known = official_checkpoints()
    if backbone not in known:
        raise CheckpointError(
            f"there is no official checkpoint of {backbone}; there are those of {', '.join(known)}",
            remedy="choose one of these backbones, or set sam.checkpoint to shipped, pretrained,"
            " random or a file",
        )
    return known[backbone]
