"""Meta's checkpoints: which there are, where they lie, and how to get them."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from naslora.core.download import Download
from naslora.core.errors import CheckpointError, SettingsError
from naslora.core.files import sha256
from naslora.study.settings import CONFIG_FOLDER, settings_file

_HASH_IN_NAME = re.compile(r"^sam_vit_[bhl]_([0-9a-f]{6})\.pth$")


class OfficialCheckpoint(BaseModel):
    """A public file. Its name is the last part of its address."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[str, Field(pattern=r"^https?://.+\.pth$")]
    bytes: Annotated[int, Field(gt=0)]

    @property
    def name(self) -> str:
        return PurePosixPath(self.url).name


def official_checkpoints(config: Path = CONFIG_FOLDER) -> dict[str, OfficialCheckpoint]:
    """Read `checkpoints.yaml` in the folder `config`: backbone to file.

    Raises:
        SettingsError: the table is missing or invalid.
    """
    path = settings_file("checkpoints", config)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return TypeAdapter(dict[str, OfficialCheckpoint]).validate_python(content)
    except FileNotFoundError:
        raise SettingsError("settings file not found", where=path) from None
    except (yaml.YAMLError, ValidationError) as error:
        raise SettingsError(f"invalid table of checkpoints: {error}", where=path) from None


def find_checkpoint(
    setting: str, backbone: str, folder: Path, config: Path = CONFIG_FOLDER
) -> Path:
    """Find the file that the setting `sam.checkpoint` names.

    Args:
        setting: `official`, which lies in `folder` under its own name, or the path of a file.
        backbone: the backbone that it is for.
        folder: where official checkpoints are looked for.
        config: the folder of `checkpoints.yaml`.

    Raises:
        CheckpointError: there is no such file, or the backbone has no official one.
    """
    if setting == "official":
        known = _official(backbone, config)
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
            remedy="correct sam.checkpoint: official, pretrained, random, or an existing file",
        )
    return path


def fetch_checkpoint(
    backbone: str,
    folder: Path,
    *,
    config: Path = CONFIG_FOLDER,
    attempts: int = 4,
    pause: float = 2.0,
    timeout: float = 60.0,
) -> Path:
    """Find an official checkpoint in a folder, or download it there; verify it either way.

    Args:
        backbone: vit_h, vit_l or vit_b.
        folder: where the file is, or goes.
        config: the folder of `checkpoints.yaml`.
        attempts: how often in succession a connection may break without a new byte.
        pause: seconds before the second attempt; each later one waits twice as long.
        timeout: seconds without an answer after which a connection counts as broken.

    Returns:
        The file, whole and with the hash that its name promises.

    Raises:
        CheckpointError: the backbone has no official file, the download fails, or the file is not
            what its name promises.
        DiskError: the folder cannot be written to.
    """
    known = _official(backbone, config)
    path = folder / known.name
    if path.is_file():
        check_hash(path, sha256(path))
        return path
    promised = _HASH_IN_NAME.match(known.name)
    Download(
        url=known.url,
        target=path,
        error=CheckpointError,
        by_hand="get it by other means and put it there",
        size=known.bytes,
        sha256=promised[1] if promised else None,
        attempts=attempts,
        pause=pause,
        timeout=timeout,
    ).run()
    return path


def check_hash(path: Path, digest: str) -> None:
    """Compare a file's SHA-256 with the digits in its name; other names promise nothing.

    Raises:
        CheckpointError: they differ.
    """
    promised = _HASH_IN_NAME.match(path.name)
    if promised and not digest.startswith(promised[1]):
        raise CheckpointError(
            f"{path.name} is damaged or not Meta's file: its SHA-256 begins with {digest[:6]}, "
            f"not with {promised[1]}",
            where=path,
            remedy="delete it and fetch it again, or rename it if it is a checkpoint of your own",
        )


def _official(backbone: str, config: Path) -> OfficialCheckpoint:
    table = official_checkpoints(config)
    if backbone not in table:
        raise CheckpointError(
            f"there is no official checkpoint of {backbone}; there are those of {', '.join(table)}",
            remedy="choose one of these backbones, or sam.checkpoint: pretrained, random or a file",
        )
    return table[backbone]
