"""Meta's checkpoints: which there are, where they lie, and how to get them."""

from __future__ import annotations

import hashlib
import http.client
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Annotated, BinaryIO

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from naslora.errors import CheckpointError, SettingsError
from naslora.files import sha256, whole_file
from naslora.settings import CONFIG_FOLDER

_CHUNK = 1 << 20
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
    path = config / "checkpoints.yaml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return TypeAdapter(dict[str, OfficialCheckpoint]).validate_python(content)
    except FileNotFoundError:
        raise SettingsError(
            "settings file not found", where=path, remedy="run from the project's root folder"
        ) from None
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
        attempts: how often a broken connection is tried in all.
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
    with whole_file(path) as temporary:
        digest = _retry(lambda: _download(known, temporary, path, timeout), known, attempts, pause)
        check_hash(path, digest)
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


def _retry(
    download: Callable[[], str], known: OfficialCheckpoint, attempts: int, pause: float
) -> str:
    """Call until it works; connections that break and servers in trouble are tried again."""
    for attempt in range(1, attempts + 1):
        try:
            return download()
        except (
            urllib.error.URLError,
            http.client.HTTPException,
            ConnectionError,
            TimeoutError,
        ) as e:
            final = isinstance(e, urllib.error.HTTPError) and e.code < 500 and e.code != 429
            if final or attempt == attempts:
                raise CheckpointError(
                    f"cannot download {known.url}: {e}",
                    remedy="check the connection and run the command again, or download the file "
                    "by other means into the folder sam.checkpoints",
                ) from e
        time.sleep(pause * 2 ** (attempt - 1))
    raise ValueError("there is at least one attempt")


def _download(known: OfficialCheckpoint, temporary: Path, path: Path, timeout: float) -> str:
    """Stream the file to `temporary`; return its SHA-256."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    request = urllib.request.Request(known.url, headers={"User-Agent": "naslora"})
    with (
        urllib.request.urlopen(request, timeout=timeout) as response,
        temporary.open("wb") as file,
        Progress(*columns, console=Console(stderr=True)) as progress,
    ):
        bar = progress.add_task(f"fetching {known.name}", total=known.bytes)
        digest, size = _copy(response, file, lambda n: progress.update(bar, advance=n))
    if looks_like_html(temporary):
        raise CheckpointError(
            f"{known.url} answered with a web page, not with a checkpoint",
            where=path,
            remedy="a proxy or login page may be in the way: open the address in a browser",
        )
    if size < known.bytes:
        raise ConnectionError(f"the connection closed after {size} of {known.bytes} bytes")
    return digest


def _copy(source: BinaryIO, target: BinaryIO, advance: Callable[[int], None]) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    while chunk := source.read(_CHUNK):
        target.write(chunk)
        digest.update(chunk)
        size += len(chunk)
        advance(len(chunk))
    return digest.hexdigest(), size


def looks_like_html(path: Path) -> bool:
    """Whether a file begins like a web page."""
    with path.open("rb") as file:
        return file.read(512).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<"
